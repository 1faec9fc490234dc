#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include <string>

namespace nb = nanobind;

NB_MODULE(_native, m) {
    m.def("version", [] { return std::string(EMBEDROUTER_VERSION); },
          "The version of embedrouter that this module was built from.");
}
