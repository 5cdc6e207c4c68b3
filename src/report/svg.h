// Charts as inline SVG: shapes with CSS classes (colours live in the page's style sheet, so that light, dark and print
// differ there only), axes with round ticks, escaping.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace igq::report {

/// Text that is safe in HTML and XML, between tags and within quoted attributes: & < > " ' are escaped, bytes that are
/// not UTF-8 become U+FFFD, control characters (which XML forbids) blanks.
std::string escape(std::string_view text);

/// A number for people: `digits` significant digits, no exponent between 1e-4 and 1e7, "-0" is "0".
std::string number(double value, int digits = 3);

/// The number at a tick, at most six characters: 10000 is "10k", 0.0002 is "2e-4".
std::string tick_label(double value);

/// About `count` ascending multiples of 1, 2 or 5 times a power of ten within [low, high]; at least one when they
/// differ.
std::vector<double> nice_ticks(double low, double high, int count);

/// A linear map of values to pixels.
struct Scale {
  double low = 0.0, high = 1.0;  ///< values
  double from = 0.0, to = 1.0;   ///< pixels
  double operator()(double value) const { return from + (value - low) / (high - low) * (to - from); }
};

/// Vertical positions of labels `gap` apart at least, in the order given and as near to the wanted ones as a pass down
/// and a pass up bring them, all within [top, bottom] when they fit.
std::vector<double> spread_labels(std::vector<double> wanted, double gap, double top, double bottom);

enum class Anchor { kStart, kMiddle, kEnd };

class Svg {
 public:
  /// `label` is what screen readers say; the size is in user units, the page scales it to its column.
  Svg(double width, double height, std::string_view label);

  double width() const { return width_; }
  double height() const { return height_; }
  void rect(double x, double y, double width, double height, std::string_view classes, std::string_view tooltip = {});
  void line(double x1, double y1, double x2, double y2, std::string_view classes);
  void polyline(const std::vector<std::pair<double, double>>& points, std::string_view classes);
  /// `d` is path data made by path_data, `width` a stroke width (0: the style sheet's).
  void path(std::string_view d, std::string_view classes, double width = 0.0, std::string_view tooltip = {});
  void text(double x, double y, std::string_view text, std::string_view classes = {}, Anchor anchor = Anchor::kStart);
  /// One of six shapes, so that series differ without colour.
  void marker(double x, double y, int shape, std::string_view classes, std::string_view tooltip = {});
  /// Ticks with numbers and lines across [left, right] at the left; the unit above the axis.
  void y_axis(const Scale& scale, double left, double right, std::string_view unit, int ticks = 4);

  std::string str() const;

 private:
  void finish(std::string_view tag, std::string_view tooltip);

  double width_, height_;
  std::string body_;
};

/// A coordinate with at most two decimals.
std::string coordinate(double value);

}  // namespace igq::report
