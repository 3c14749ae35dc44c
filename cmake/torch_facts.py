"""Prints what the build must know of the torch installed beside this interpreter.

One ``NAME=VALUE`` a line. No find_package(Torch): its CMake files ask for a CUDA
toolkit, and bind the library to one release of torch, which the stable ABI avoids.
"""

import os

import torch

root = os.path.dirname(os.path.abspath(torch.__file__))
print(f"TORCH_ROOT={root}")
print(f"TORCH_VERSION={torch.__version__}")
print(f"TORCH_CUDA={torch.version.cuda or ''}")
print(f"TORCH_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}")
