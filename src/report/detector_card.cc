#include <fmt/format.h>

#include "base/text.h"
#include "report/card.h"
#include "report/html.h"

namespace igq::report {
namespace {

std::string lead(const DetectorReportData& data) {
  return fmt::format(
      "# {}\n\n{} quantized for CPUs by igq: its network runs in integers. It finds {} of {}. Sites by bits: {}.\n\n",
      plain(data.file), plain(data.architecture), data.masks ? "boxes and masks" : "boxes",
      data.labels.empty() ? std::string("classes without names")
                          : plural(static_cast<std::int64_t>(data.labels.size()), "class", "classes"),
      sites_by_bits(data.sites));
}

std::string results(const DetectorReportData& data) {
  std::string text = "## Results\n\n| | | measured on |\n|---|---:|---|\n";
  if (data.agreement) {
    const DetectionAgreement& a = *data.agreement;
    const std::string on = data.agreement_on_data ? plural(a.images, "picture", "pictures")
                                                  : plural(a.images, "calibration picture", "calibration pictures") +
                                                        (data.held_back ? " held back" : "");
    text += card_row("objects of the float model that are found again",
                     fmt::format("{} of {} ({:.1f} %)", a.found, a.objects, a.found_percent()), on);
    text += card_row("objects invented", fmt::format("{}", a.invented), on);
    if (a.found > 0) {
      text += card_row("IoU of boxes with float's, mean", fmt::format("{:.3f}", a.box_iou), on);
      if (a.masks) text += card_row("IoU of masks with float's, mean", fmt::format("{:.3f}", a.mask_iou), on);
    }
    if (a.box_ap >= 0.0)
      text += card_row("AP of boxes, float's objects as the truth", fmt::format("{:.1f}", a.box_ap), on);
    if (a.mask_ap >= 0.0)
      text += card_row("AP of masks, float's objects as the truth", fmt::format("{:.1f}", a.mask_ap), on);
  }
  text += card_row("file", fmt::format("{:.2f} MB ({:.2f} MB in float)", data.file_mb, data.float_mb), "");
  if (data.speed) text += card_speed(*data.speed);
  if (!data.agreement)
    text +=
        "\nWhat it loses was not measured for this card: `igq report FILE --data-dir DIR --float MODEL --card "
        "README.md`.\n";
  return text + "\nCOCO's AP needs annotated pictures: `igq eval FILE --coco annotations.json --images DIR`.\n\n";
}

std::string usage(const DetectorReportData& data) {
  return fmt::format(
      "## Use\n\nWith igq, or its Python package (`pip install .` in its clone):\n\n```sh\nigq predict {} photo.jpg "
      "--draw "
      "out.png\n```\n\n```python\nimport igq\ndetector = igq.Detector({})\ndetector.detect(\"photo.jpg\")\n```\n\nThe "
      "same "
      "picture gives the same bits on every instruction set and any number of threads.\n\n",
      shell(data.file), yaml(data.file));
}

}  // namespace

std::string model_card(const DetectorReportData& data) {
  return card_head(data.masks ? "image-segmentation" : "object-detection", data.provenance) + "\n" + lead(data) +
         results(data) + usage(data) + card_provenance(data.provenance, data.file) + card_limits(data.labels);
}

}  // namespace igq::report
