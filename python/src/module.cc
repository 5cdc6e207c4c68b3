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

#include "base/processors.h"
#include "cli/program.h"
#include "igq/detect.h"
#include "igq/embedder.h"
#include "igq/igq.h"
#include "igq/isa.h"
#include "igq/quantize.h"
#include "images.h"
#include "model.h"

namespace igq::python {
namespace {

using Values = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
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

Output output_named(const std::string& name) {
  if (name == "logits") return Output::kLogits;
  if (name == "vectors") return Output::kVectors;
  if (name == "unit vectors") return Output::kUnitVectors;
  if (name == "tokens") return Output::kTokens;
  throw nb::value_error("no such output");
}

/// What `output` names of a batch, into `out` row by row. A text per image, empty where it is well, or with `raise` the
/// first fault thrown; and the seconds that loading the images took, summed over the threads.
std::pair<std::vector<std::string>, double> run(SharedModel& model, const std::string& output, const nb::list& items,
                                                const Values& out, bool raise) {
  const Output what = output_named(output);
  const Images images(items);
  std::vector<std::string> errors;
  const std::span<float> rows(out.data(), out.size());
  const nb::gil_scoped_release release;
  const double seconds = model.run(what, images.views(), rows, raise ? nullptr : &errors);
  return {std::move(errors), seconds};
}

void preprocess(SharedModel& model, const nb::list& items, const Pictures& out) {
  const Images images(items);
  const std::size_t size = model.network().image_floats();
  if (out.size() != size * images.views().size()) throw nb::value_error("the output has another size");
  const nb::gil_scoped_release release;
  for (std::size_t i = 0; i < images.views().size(); ++i)
    model.network().load_image(images.views()[i], {out.data() + i * size, size});
}

std::vector<std::tuple<int, std::string, double>> rank(const SharedModel& model, const Row& row, int topk) {
  std::vector<std::tuple<int, std::string, double>> classes;
  for (const Prediction& p : model.classifier().rank({row.data(), row.size()}, topk))
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

/// `report(stage, done, total)` is called with the GIL, from whichever thread works; what it raises ends the work too.
std::string quantize_model(const std::string& model, const std::string& calibration, const std::string& output,
                           const nb::dict& settings, const nb::callable& report) {
  QuantizeRequest request;
  request.model = model;
  request.calibration = calibration;
  request.output = output;
  request.overwrite = nb::cast<bool>(settings["overwrite"]);
  request.samples = nb::cast<int>(settings["samples"]);
  request.held_back = nb::cast<int>(settings["held_back"]);
  request.threads = nb::cast<int>(settings["threads"]);
  request.isa = nb::cast<std::string>(settings["isa"]);
  request.architecture = nb::cast<std::string>(settings["architecture"]);
  request.options = nb::cast<std::vector<std::pair<std::string, std::string>>>(settings["options"]);
  request.progress = [&report](const std::string& stage, std::int64_t done, std::int64_t total) {
    const nb::gil_scoped_acquire hold;
    return nb::cast<bool>(report(stage, done, total));
  };
  const nb::gil_scoped_release release;
  return quantize(request);
}

std::string compare_models(const std::string& a, const std::string& b, const std::string& images, std::int64_t limit,
                           int threads) {
  const nb::gil_scoped_release release;
  return compare(a, b, images, limit, threads);
}

/// Boxes [x, y, width, height], scores, labels, names, category ids and masks of one picture.
nb::list detect(ObjectDetector& detector, const nb::list& items, double threshold) {
  const Images images(items);
  std::vector<DetectedObject> objects;
  {
    const nb::gil_scoped_release release;
    objects = detector.detect(images.views().front(), threshold);
  }
  nb::list out;
  for (const DetectedObject& o : objects)
    out.append(nb::make_tuple(nb::make_tuple(o.box[0], o.box[1], o.box[2], o.box[3]), o.score, o.label, o.name,
                              o.category, nb::bytes(reinterpret_cast<const char*>(o.mask.data()), o.mask.size()),
                              o.mask_height, o.mask_width));
  return out;
}

std::vector<std::string> isa_names() {
  std::vector<std::string> names;
  for (const Isa isa : supported_isas()) names.emplace_back(isa_name(isa));
  return names;
}

}  // namespace

NB_MODULE(_igq, m) {
  const auto error = nb::exception<Error>(m, "Error", PyExc_RuntimeError);
  nb::exception<Cancelled>(m, "Cancelled", error.ptr());
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
      .def("run", &run, nb::arg("output"), nb::arg("images"), nb::arg("out"), nb::arg("raise_errors"))
      .def("preprocess", &preprocess, nb::arg("images"), nb::arg("out"))
      .def("rank", &rank, nb::arg("row"), nb::arg("topk"))
      .def_prop_ro("num_classes", [](const SharedModel& s) { return s.network().num_classes(); })
      .def_prop_ro("width", [](const SharedModel& s) { return s.network().width(); })
      .def_prop_ro("tokens", [](const SharedModel& s) { return s.network().tokens(); })
      .def_prop_ro("token_width", [](const SharedModel& s) { return s.network().token_width(); })
      .def_prop_ro(
          "image_size",
          [](const SharedModel& s) { return std::pair(s.network().image_height(), s.network().image_width()); })
      .def_prop_ro("architecture", [](const SharedModel& s) { return s.network().architecture(); })
      .def_prop_ro("labels",
                   [](const SharedModel& s) {
                     return s.network().num_classes() > 0 ? s.classifier().labels() : std::vector<std::string>{};
                   })
      .def_prop_ro("execution", [](const SharedModel& s) { return s.network().execution(); })
      .def_prop_ro("isa", [](const SharedModel& s) { return s.network().isa(); });
  nb::class_<ObjectDetector>(m, "Detector")
      .def(
          "__init__",
          [](ObjectDetector* self, const std::string& path, const std::string& architecture, int threads,
             const std::string& isa) {
            const nb::gil_scoped_release release;
            new (self) ObjectDetector(path, {architecture, threads, isa});
          },
          nb::arg("path"), nb::arg("architecture"), nb::arg("threads"), nb::arg("isa"))
      .def("detect", &detect, nb::arg("images"), nb::arg("threshold"))
      .def_prop_ro("labels", &ObjectDetector::labels)
      .def_prop_ro("architecture", &ObjectDetector::architecture)
      .def_prop_ro("default_threshold", &ObjectDetector::default_threshold);
  m.def("is_detector", [](const std::string& path, const std::string& architecture) {
    return ObjectDetector::is_one(path, architecture);
  });
  m.def("quantize", &quantize_model, nb::arg("model"), nb::arg("calibration"), nb::arg("output"), nb::arg("settings"),
        nb::arg("report"));
  m.def("compare", &compare_models, nb::arg("a"), nb::arg("b"), nb::arg("images"), nb::arg("limit"),
        nb::arg("threads"));
  m.def("run_program", &run_program, nb::arg("arguments"));
  m.def("isa_names", &isa_names);
  m.def("cpu_name", &cpu_name);
  m.def("default_threads", &default_threads);
  m.def("version", &version);
}

}  // namespace igq::python
