# Copyright (C) 2026 the torch-remote authors
# SPDX-License-Identifier: AGPL-3.0-or-later
#
# The part of ./dev that builds for CUDA and tests on GPUs. It uses the functions of ./dev, which reads it where they are
# asked for.

cuda_torch=${TORCH_REMOTE_CUDA_TORCH:-2.14.1}
gpu_kit=$PWD/build/gpu-kit

# Sets cuda_python to the interpreter whose own torch is a CUDA build, if one of the two is. Nothing is imported, which
# would take seconds.
find_cuda_python() {
  for cuda_python in "$venv/bin/python" "$base_python"; do
    if "$cuda_python" 2>/dev/null - <<'PROGRAM'; then
import importlib.util, pathlib, sys
torch = importlib.util.find_spec("torch")
found = torch and (pathlib.Path(torch.origin).parent / "lib" / "libtorch_cuda.so").exists()
sys.exit(not found)
PROGRAM
      cuda_python=$(command -v "$cuda_python")
      return 0
    fi
  done
  return 1
}

# unpack_wheels FOLDER INTO: what is compiled and linked with, and no more.
unpack_wheels() {
  "$venv/bin/python" - "$@" <<'PROGRAM'
import pathlib, sys, zipfile
folder, into = map(pathlib.Path, sys.argv[1:])
for wheel in folder.glob("*.whl"):
    with zipfile.ZipFile(wheel) as archive:
        wanted = ("torch/include/", "torch/lib/", "torch/version.py", "nvidia/")
        archive.extractall(into, [name for name in archive.namelist() if name.startswith(wanted)])
    wheel.unlink()
PROGRAM
}

# ensure_cuda_torch FOLDER: torch's CUDA build there, a gigabyte that nothing imports, with the few of CUDA's packages
# that its headers include and its CPU half needs to be loaded.
ensure_cuda_torch() {
  local folder=$1 pip=("$venv/bin/python" -m pip --disable-pip-version-check) cuda package
  [[ ! -e $folder/complete ]] || return 0
  say "torch $cuda_torch with CUDA"
  rm -rf "$folder"
  mkdir -p "$folder/wheels"
  "${pip[@]}" download --no-deps --dest "$folder/wheels" "torch==$cuda_torch"
  unpack_wheels "$folder/wheels" "$folder"
  [[ -e $folder/torch/lib/libtorch_cuda.so ]] || fail "this index's torch $cuda_torch is not a CUDA build"
  cuda=$(sed -n "s/^cuda.* = '\([0-9.]*\)'.*/\1/p" "$folder/torch/version.py")
  for package in nvidia-cuda-runtime nvidia-cuda-crt nvidia-cuda-cupti; do
    "${pip[@]}" download --no-deps --dest "$folder/wheels" "$package==$cuda.*"
  done
  unpack_wheels "$folder/wheels" "$folder"
  touch "$folder/complete"
}

# The program and the plugin in build/cuda/bin, with a torch that is downloaded; or everything in python/torch_remote,
# for the interpreter whose own torch has CUDA.
build_cuda() {
  local targets=() options=(-DTORCH_REMOTE_REQUIRE_CUDA=ON)
  if [[ -d $gpu_kit ]] && ! pkg-config --exists libzmq 2>/dev/null; then
    options+=(-Dcppzmq_DIR="$gpu_kit")
  else
    ensure_system
  fi
  if find_cuda_python; then
    if [[ ! -d $gpu_kit ]]; then
      ensure_venv
      export PATH=$venv/bin:$PATH
      ensure_build_tools
    fi
    export PATH=${cuda_python%/*}:$PATH
    options+=(-DPython_EXECUTABLE="$cuda_python" -DTORCH_REMOTE_TORCH_DIR= -DTORCH_REMOTE_INPLACE=ON)
  else
    ensure_venv
    export PATH=$venv/bin:$PATH VIRTUAL_ENV=$venv
    ensure_build_tools
    ensure_cuda_torch "build/cuda-torch/$cuda_torch"
    options+=(-DPython_EXECUTABLE="$venv/bin/python" -DTORCH_REMOTE_TORCH_DIR="$PWD/build/cuda-torch/$cuda_torch/torch"
      -DTORCH_REMOTE_INPLACE=OFF -DCMAKE_COMPILE_WARNING_AS_ERROR=ON)
    targets=(torch-remote-executor torch_remote_cuda)
  fi
  cmake --preset cuda "${options[@]}"
  build cuda "${targets[@]}"
}

# Every test that needs a GPU, with the interpreter whose torch can use it; without one, they say what they miss.
test_gpu() {
  if find_cuda_python; then
    build_cuda
    PYTHONPATH=$PWD/python "$cuda_python" -m pytest -m gpu --executor-device cuda backends/cuda_direct/tests "$@"
  else
    ensure_system
    ensure_python demo dev
    build dev
    python -m pytest -m gpu backends/cuda_direct/tests "$@"
  fi
}

# ZeroMQ for machines without packages: its headers, and the library in pyzmq's wheel, which needs only the sodium that is
# beside it there.
pack_gpu() {
  local headers
  headers=$(pkg-config --variable=includedir libzmq)
  rm -rf "$gpu_kit"
  mkdir -p "$gpu_kit/include" "$gpu_kit/lib"
  cp "$headers"/zmq{.h,_utils.h,.hpp,_addon.hpp} "$gpu_kit/include"
  cp "$(python -c 'import sysconfig; print(sysconfig.get_path("platlib"))')"/pyzmq.libs/*.so* "$gpu_kit/lib"
  cat >"$gpu_kit/cppzmqConfig.cmake" <<'CMAKE'
file(GLOB library ${CMAKE_CURRENT_LIST_DIR}/lib/libzmq*.so*)
add_library(cppzmq SHARED IMPORTED)
set_target_properties(cppzmq PROPERTIES IMPORTED_LOCATION ${library}
  INTERFACE_INCLUDE_DIRECTORIES ${CMAKE_CURRENT_LIST_DIR}/include)
CMAKE
  echo "$gpu_kit: $(du -sh "$gpu_kit" | cut -f1)"
}
