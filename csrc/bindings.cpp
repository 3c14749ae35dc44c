// The module _C: build facts and the CPU capability, which it shares with libcolloc_ops.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "common/capability.h"

namespace py = pybind11;

namespace {

constexpr const char* capabilities[] = {"baseline", "avx2", "avx512"};

std::vector<std::string> available_capabilities() {
  std::vector<std::string> names;
  for (const char* name : capabilities) {
    if (colloc_has_cpu_capability(name)) names.emplace_back(name);
  }
  return names;
}

std::string listed() {
  std::string text;
  for (const auto& name : available_capabilities()) text += (text.empty() ? "" : ", ") + name;
  return text;
}

void set_capability(const std::string& name) {
  if (colloc_set_cpu_capability(name.c_str()) != 0) {
    throw py::value_error("capability: expected one of " + listed() +
                          " (what this build and this processor have), got '" + name + "'.");
  }
}

py::dict build_info() {
  py::dict info;
  info["version"] = COLLOC_VERSION;
  info["torch"] = COLLOC_TORCH_BUILT;
  info["compiler"] = COLLOC_COMPILER;
  info["cuda"] = COLLOC_CUDA_STATUS;
  return info;
}

}  // namespace

PYBIND11_MODULE(_C, m) {
  m.doc() = "Build facts and CPU capability of colloc";
  m.def(
      "cpu_capability", [] { return std::string(colloc_cpu_capability()); },
      "The instruction set that the CPU kernels use: 'baseline', 'avx2' or 'avx512'.");
  m.def("set_cpu_capability", &set_capability, py::arg("name"),
        "Use another instruction set from now on. ValueError if it is not available.");
  m.def("available_cpu_capabilities", &available_capabilities,
        "The instruction sets that this build and this processor have.");
  m.def(
      "cpu_capability_problem", [] { return std::string(colloc_cpu_capability_problem()); },
      "What COLLOC_CPU_CAPABILITY asked for in vain, or ''.");
  m.def("build_info", &build_info, "Versions at build time, and the state of the CUDA library.");
}
