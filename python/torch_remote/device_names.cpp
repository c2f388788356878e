// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "python/torch_remote/device_names.h"

#include <algorithm>
#include <c10/core/Device.h>
#include <stdexcept>
#include <string>
#include <string_view>
#include <torch/csrc/Device.h>
#include <utility>

#include "core/client/device.h"

namespace py = pybind11;

namespace torch_remote::python {
namespace {

// Where cuda:i goes that stands for no device: remote:(64 + i), beyond all that can be made, so
// that its use is refused, and its name comes back as it was given.
constexpr int kNowhere = 64;
static_assert(client::kDeviceCountMax <= kNowhere);

// What was in PyTorch's types before. PyTorch has one of each type, so there is one of this.
struct Replaced {
  std::vector<int> remote_of_cuda;
  newfunc device_new = nullptr;
  reprfunc device_repr = nullptr;
  reprfunc device_str = nullptr;
  // The attributes of torch.device: names and what the type's dictionary held.
  std::vector<std::pair<std::string, py::object>> attributes;
  // Other types that take a device where they are called.
  std::vector<std::pair<PyTypeObject*, newfunc>> takers;
};

// Never destroyed: Python may be gone before statics are.
Replaced*& replaced() {
  static Replaced* state = nullptr;
  return state;
}

const c10::Device& device_of(PyObject* object) {
  return reinterpret_cast<THPDevice*>(object)->device;
}

// The index under which a remote device is shown, or empty if it keeps its own name.
std::optional<int> cuda_index(const c10::Device& device) {
  if (!device.is_privateuseone()) return std::nullopt;
  if (!device.has_index()) return -1;
  const std::vector<int>& indices = replaced()->remote_of_cuda;
  const auto found = std::find(indices.begin(), indices.end(), device.index());
  if (found != indices.end()) return static_cast<int>(found - indices.begin());
  if (device.index() >= kNowhere) return device.index() - kNowhere;
  return std::nullopt;
}

c10::DeviceIndex index_of_cuda(int cuda) {
  const std::vector<int>& indices = replaced()->remote_of_cuda;
  if (cuda < 0) return -1;
  if (static_cast<std::size_t>(cuda) < indices.size()) {
    return static_cast<c10::DeviceIndex>(indices[static_cast<std::size_t>(cuda)]);
  }
  return static_cast<c10::DeviceIndex>(std::min(kNowhere + cuda, 127));
}

bool is_bare_index(PyObject* arguments) {
  return PyTuple_GET_SIZE(arguments) == 1 && PyLong_Check(PyTuple_GET_ITEM(arguments, 0)) != 0;
}

PyObject* new_device(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  PyObject* made = replaced()->device_new(type, arguments, keywords);
  if (made == nullptr) return nullptr;
  c10::Device& device = reinterpret_cast<THPDevice*>(made)->device;
  // A number alone is a device of the current accelerator, so here of CUDA.
  if (device.is_cuda() || (device.is_privateuseone() && is_bare_index(arguments))) {
    device = c10::Device(c10::DeviceType::PrivateUse1, index_of_cuda(device.index()));
  }
  return made;
}

bool names_cuda(PyObject* argument) {
  if (PyUnicode_Check(argument) == 0) return false;
  const char* text = PyUnicode_AsUTF8(argument);
  if (text == nullptr) {
    PyErr_Clear();
    return false;
  }
  return std::string_view(text).substr(0, 4) == "cuda";
}

// The same argument, or the torch.device that it names. Empty, with Python's error, if it names
// none.
py::object with_device(PyObject* argument) {
  if (!names_cuda(argument)) return py::reinterpret_borrow<py::object>(argument);
  return py::reinterpret_steal<py::object>(
      PyObject_CallOneArg(reinterpret_cast<PyObject*>(&THPDeviceType), argument));
}

// For torch.Generator("cuda") and the like, whose arguments are read in C++.
PyObject* new_on_device(PyTypeObject* type, PyObject* arguments, PyObject* keywords) {
  const auto& takers = replaced()->takers;
  // Types that derive from one of these have inherited this function, not the original.
  const auto taker = std::find_if(takers.begin(), takers.end(), [type](const auto& one) {
    return PyType_IsSubtype(type, one.first) != 0;
  });
  if (taker == takers.end()) {
    PyErr_Format(PyExc_TypeError, "%s can't be made while CUDA's names are replaced",
                 type->tp_name);
    return nullptr;
  }
  const Py_ssize_t count = PyTuple_GET_SIZE(arguments);
  py::tuple mapped(static_cast<std::size_t>(count));
  for (Py_ssize_t i = 0; i < count; ++i) {
    py::object one = with_device(PyTuple_GET_ITEM(arguments, i));
    if (!one) return nullptr;
    PyTuple_SET_ITEM(mapped.ptr(), i, one.release().ptr());
  }
  py::dict mapped_keywords;
  PyObject *name = nullptr, *value = nullptr;
  for (Py_ssize_t at = 0; keywords != nullptr && PyDict_Next(keywords, &at, &name, &value) != 0;) {
    const py::object one = with_device(value);
    if (!one || PyDict_SetItem(mapped_keywords.ptr(), name, one.ptr()) != 0) return nullptr;
  }
  return taker->second(type, mapped.ptr(), keywords == nullptr ? nullptr : mapped_keywords.ptr());
}

std::string shown_name(const c10::Device& device, int index) {
  return index < 0 || !device.has_index() ? "cuda" : "cuda:" + std::to_string(index);
}

PyObject* to_python(const std::string& text) {
  return PyUnicode_FromStringAndSize(text.data(), static_cast<Py_ssize_t>(text.size()));
}

PyObject* device_str(PyObject* self) {
  const std::optional<int> index = cuda_index(device_of(self));
  return index ? to_python(shown_name(device_of(self), *index)) : replaced()->device_str(self);
}

PyObject* device_repr(PyObject* self) {
  const std::optional<int> index = cuda_index(device_of(self));
  if (!index) return replaced()->device_repr(self);
  return to_python(*index < 0 ? "device(type='cuda')"
                              : "device(type='cuda', index=" + std::to_string(*index) + ")");
}

// The original attribute of a device that keeps its own name. It was there, or this wouldn't be.
py::object original(PyObject* self, std::string_view name) {
  for (const auto& [known, attribute] : replaced()->attributes) {
    if (known != name) continue;
    return py::reinterpret_steal<py::object>(
        Py_TYPE(attribute.ptr())
            ->tp_descr_get(attribute.ptr(), self, reinterpret_cast<PyObject*>(Py_TYPE(self))));
  }
  PyErr_SetString(PyExc_AttributeError, "a device's attribute");
  return {};
}

PyObject* device_type(PyObject* self, void*) {
  return cuda_index(device_of(self)) ? to_python("cuda") : original(self, "type").release().ptr();
}

PyObject* device_index(PyObject* self, void*) {
  const std::optional<int> index = cuda_index(device_of(self));
  if (!index) return original(self, "index").release().ptr();
  if (*index < 0) return Py_NewRef(Py_None);
  return PyLong_FromLong(*index);
}

// Pickled under CUDA's name, so that what was saved can be loaded where CUDA is.
PyObject* device_reduce(PyObject* self, PyObject*) {
  const std::optional<int> index = cuda_index(device_of(self));
  if (!index) {
    const py::object reduce = original(self, "__reduce__");
    return reduce ? PyObject_CallNoArgs(reduce.ptr()) : nullptr;
  }
  auto* type = reinterpret_cast<PyObject*>(Py_TYPE(self));
  return *index < 0 ? Py_BuildValue("(O(s))", type, "cuda")
                    : Py_BuildValue("(O(si))", type, "cuda", *index);
}

// A static type refuses setattr; its dictionary doesn't.
void set_attribute(const char* name, PyObject* attribute) {
  if (attribute == nullptr || PyDict_SetItemString(THPDeviceType.tp_dict, name, attribute) != 0) {
    throw py::error_already_set();
  }
}

void replace_attribute(const char* name, PyObject* made) {
  const py::object attribute = py::reinterpret_steal<py::object>(made);
  PyObject* before = PyDict_GetItemString(THPDeviceType.tp_dict, name);
  if (before == nullptr || Py_TYPE(before)->tp_descr_get == nullptr) {
    throw std::runtime_error(std::string("torch.device has no attribute ") + name);
  }
  replaced()->attributes.emplace_back(name, py::reinterpret_borrow<py::object>(before));
  set_attribute(name, attribute.ptr());
}

void replace_attributes() {
  // Descriptors keep pointers to these.
  static PyGetSetDef type = {"type", &device_type, nullptr, nullptr, nullptr};
  static PyGetSetDef index = {"index", &device_index, nullptr, nullptr, nullptr};
  static PyMethodDef reduce = {"__reduce__", &device_reduce, METH_NOARGS, nullptr};
  replace_attribute("type", PyDescr_NewGetSet(&THPDeviceType, &type));
  replace_attribute("index", PyDescr_NewGetSet(&THPDeviceType, &index));
  replace_attribute("__reduce__", PyDescr_NewMethod(&THPDeviceType, &reduce));
}

void replace_new(const char* name) {
  const py::object type = py::module_::import("torch").attr(name);
  auto* taker = reinterpret_cast<PyTypeObject*>(type.ptr());
  replaced()->takers.emplace_back(taker, std::exchange(taker->tp_new, &new_on_device));
}

void check(const std::vector<int>& indices) {
  std::vector<int> seen;
  for (const int index : indices) {
    if (index < 0 || index >= client::kDeviceCountMax) {
      throw std::invalid_argument("there can be no device remote:" + std::to_string(index));
    }
    if (std::find(seen.begin(), seen.end(), index) != seen.end()) {
      throw std::invalid_argument("remote:" + std::to_string(index) + " is named twice");
    }
    seen.push_back(index);
  }
}

}  // namespace

void show_as_cuda(const std::vector<int>& indices) {
  if (replaced() != nullptr) throw std::runtime_error("CUDA's names are replaced already");
  check(indices);
  replaced() = new Replaced{.remote_of_cuda = indices};
  try {
    Replaced& state = *replaced();
    state.device_new = std::exchange(THPDeviceType.tp_new, &new_device);
    state.device_repr = std::exchange(THPDeviceType.tp_repr, &device_repr);
    state.device_str = std::exchange(THPDeviceType.tp_str, &device_str);
    replace_attributes();
    for (const char* name : {"Generator", "Stream", "Event"}) replace_new(name);
    PyType_Modified(&THPDeviceType);
  } catch (...) {
    show_as_remote();
    throw;
  }
}

void show_as_remote() {
  if (replaced() == nullptr) return;
  Replaced& state = *replaced();
  THPDeviceType.tp_new = state.device_new;
  THPDeviceType.tp_repr = state.device_repr;
  THPDeviceType.tp_str = state.device_str;
  for (const auto& [name, attribute] : state.attributes) {
    set_attribute(name.c_str(), attribute.ptr());
  }
  for (const auto& [type, make] : state.takers) type->tp_new = make;
  PyType_Modified(&THPDeviceType);
  delete std::exchange(replaced(), nullptr);
}

bool is_remote(const py::handle& device) {
  return THPDevice_Check(device.ptr()) && device_of(device.ptr()).is_privateuseone();
}

std::optional<int> remote_index(const py::handle& device) {
  if (!is_remote(device)) throw py::type_error("not a remote torch.device");
  const c10::Device& found = device_of(device.ptr());
  return found.has_index() ? std::optional<int>(found.index()) : std::nullopt;
}

}  // namespace torch_remote::python
