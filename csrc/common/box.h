// Ops whose arguments are strings. torch's own conversion of a str argument to std::string leaks 48
// bytes a call (torch 2.10 to 2.13, pytorch issue 191340); here the string is taken out of its
// handle, which is then given back.
#pragma once

#include <torch/csrc/stable/c/shim.h>
#include <torch/csrc/stable/library.h>

#include <string>
#include <type_traits>

namespace colloc {

inline std::string take_string(StringHandle handle) {
  size_t length = 0;
  const char* data = nullptr;
  TORCH_ERROR_CODE_CHECK(torch_string_length(handle, &length));
  TORCH_ERROR_CODE_CHECK(torch_string_c_str(handle, &data));
  std::string text(data, length);
  TORCH_ERROR_CODE_CHECK(torch_delete_string(handle));
  return text;
}

// What torch is to hand over for a parameter of type T, and how the parameter is made of it.
template <class T>
struct Parameter {
  using Given = std::remove_cv_t<std::remove_reference_t<T>>;
  static const Given& from(const Given& given) { return given; }
};

template <>
struct Parameter<const std::string&> {
  using Given = StringHandle;
  static std::string from(StringHandle given) { return take_string(given); }
};

template <auto op>
struct Taking;

template <class Result, class... Ts, Result (*op)(Ts...)>
struct Taking<op> {
  static Result call(typename Parameter<Ts>::Given... given) {
    return op(Parameter<Ts>::from(given)...);
  }
};

}  // namespace colloc

#define COLLOC_BOX(op) TORCH_BOX(&colloc::Taking<op>::call)
