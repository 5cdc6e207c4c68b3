// igq._igq: what the Python package (python/igq) is made of. Everything here is plain; the package gives it its shape.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <string>
#include <tuple>
#include <vector>

#include "cli/program.h"
#include "igq/igq.h"
#include "igq/isa.h"
#include "images.h"
#include "model.h"

namespace igq::python {
namespace {

using Rows = nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu>;
using Pictures = nb::ndarray<float, nb::ndim<4>, nb::c_contig, nb::device::cpu>;
using Row = nb::ndarray<const float, nb::ndim<1>, nb::c_contig, nb::device::cpu>;

ClassifierOptions options(const std::string& architecture, int height, int width, int threads, const std::string& isa,
                          const std::string& execution) {
  ClassifierOptions o;
  o.architecture = architecture;
  o.image_height = height;
  o.image_width = width;
  o.threads = threads;
  o.isa = isa;
  o.execution = execution;
  return o;
}

/// Logits of a batch into `out` [images, classes]; a text per image, empty where it is well, or with `raise` the first
/// fault thrown.
std::vector<std::string> logits(SharedModel& model, const nb::list& items, const Rows& out, bool raise) {
  const Images images(items);
  std::vector<std::string> errors;
  const std::span<float> rows(out.data(), out.size());
  {
    const nb::gil_scoped_release release;
    model.with([&](Classifier& c) { c.logits(images.views(), rows, raise ? nullptr : &errors); });
  }
  return errors;
}

void preprocess(SharedModel& model, const nb::list& items, const Pictures& out) {
  const Images images(items);
  const std::size_t size = model.first().image_floats();
  if (out.size() != size * images.views().size()) throw nb::value_error("the output has another size");
  const nb::gil_scoped_release release;
  for (std::size_t i = 0; i < images.views().size(); ++i)
    model.first().load_image(images.views()[i], {out.data() + i * size, size});
}

std::vector<std::tuple<int, std::string, double>> rank(const SharedModel& model, const Row& row, int topk) {
  std::vector<std::tuple<int, std::string, double>> classes;
  for (const Prediction& p : model.first().rank({row.data(), row.size()}, topk))
    classes.emplace_back(p.index, p.label, p.score);
  return classes;
}

int run_program(std::vector<std::string> arguments) {
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const nb::gil_scoped_release release;
  return cli::run_program(static_cast<int>(arguments.size()), pointers.data());
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : supported_isas()) names.emplace_back(isa_name(isa));
  return names;
}

}  // namespace

NB_MODULE(_igq, m) {
  nb::exception<Error>(m, "Error", PyExc_RuntimeError);
  nb::class_<SharedModel>(m, "Model")
      .def(
          "__init__",
          [](SharedModel* self, const std::string& path, const std::string& architecture, int height, int width,
             int threads, const std::string& isa, const std::string& execution) {
            const nb::gil_scoped_release release;
            new (self) SharedModel(path, options(architecture, height, width, threads, isa, execution));
          },
          nb::arg("path"), nb::arg("architecture"), nb::arg("height"), nb::arg("width"), nb::arg("threads"),
          nb::arg("isa"), nb::arg("execution"))
      .def("logits", &logits, nb::arg("images"), nb::arg("out"), nb::arg("raise_errors"))
      .def("preprocess", &preprocess, nb::arg("images"), nb::arg("out"))
      .def("rank", &rank, nb::arg("row"), nb::arg("topk"))
      .def_prop_ro("num_classes", [](const SharedModel& s) { return s.first().num_classes(); })
      .def_prop_ro("image_size",
                   [](const SharedModel& s) { return std::pair(s.first().image_height(), s.first().image_width()); })
      .def_prop_ro("architecture", [](const SharedModel& s) { return s.first().architecture(); })
      .def_prop_ro("labels", [](const SharedModel& s) { return s.first().labels(); })
      .def_prop_ro("execution", [](const SharedModel& s) { return s.first().execution(); })
      .def_prop_ro("isa", [](const SharedModel& s) { return s.first().isa(); });
  m.def("run_program", &run_program, nb::arg("arguments"));
  m.def("isa_names", &isa_names);
  m.def("cpu_name", &cpu_name);
  m.def("version", &version);
}

}  // namespace igq::python
