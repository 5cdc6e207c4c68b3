// Looks at reports in headless Chromium, at the width of a phone and of a desktop, in light and in dark: fails on
// script errors, on anything the page would load, on text that leaves its box, its chart or the page or lies on other
// text, and on text too small or too faint to read.
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "report/report.h"
#include "tests/report/pages.h"

namespace igq::report {
namespace {

namespace fs = std::filesystem;

/// Runs in the page and reports to the frame around it. Colours are compared as WCAG 2 does (4.5, large text 3).
constexpr std::string_view kCheck = R"js(<script>
'use strict';
const problems = [];
const say = (what, element) =>
    problems.push(what + ': "' + (element.textContent || element.tagName).trim().slice(0, 60) + '"');
addEventListener('error',
    e => problems.push('script error or missing picture: ' + (e.message || e.target.tagName)), true);
addEventListener('unhandledrejection', e => problems.push('script error: ' + e.reason));
const rgb = text => (text.match(/[\d.]+/g) || []).map(Number);
const luminance = c => c.slice(0, 3).map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
const background = element => {
  for (let e = element; e; e = e.parentElement) {
    const c = rgb(getComputedStyle(e).backgroundColor);
    if (c.length === 3 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const readable = (element, color, size) => {
  const a = luminance(rgb(color)), b = luminance(background(element));
  if ((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < (size >= 24 ? 3 : 4.5))
    say('too faint (' + color + ')', element);
  if (size < 8.5) say('too small (' + size.toFixed(1) + ' px)', element);
};
addEventListener('load', () => {
  document.querySelectorAll('details').forEach(d => d.open = true);
  const root = document.documentElement, texts = [];
  if (root.scrollWidth > innerWidth)
    problems.push('the page is ' + root.scrollWidth + ' wide in a window of ' + innerWidth);
  for (const element of document.body.querySelectorAll('*')) {
    if (element.closest('svg') || ['SCRIPT', 'BR', 'WBR'].includes(element.tagName)) continue;
    const style = getComputedStyle(element), box = element.getBoundingClientRect();
    if (box.right > innerWidth + 0.5 || box.left < -0.5) say('leaves the page', element);
    if (style.display !== 'inline' && element.clientWidth > 0 && element.scrollWidth > element.clientWidth + 1)
      say('overflows its box', element);
    if (style.overflowY === 'hidden' && element.scrollHeight > element.clientHeight + 1) say('is cut off', element);
    if ([...element.childNodes].some(n => n.nodeType === 3 && n.data.trim())) {
      texts.push(element);
      readable(element, style.color, parseFloat(style.fontSize));
    }
    if (element.tagName === 'IMG' && !(element.complete && element.naturalWidth > 0))
      problems.push('a picture is missing');
  }
  for (const svg of document.querySelectorAll('svg')) {
    const view = svg.viewBox.baseVal, scale = svg.getBoundingClientRect().width / view.width, seen = [];
    for (const text of svg.querySelectorAll('text')) {
      const b = text.getBBox(), style = getComputedStyle(text);
      texts.push(text);
      if (b.x < -0.5 || b.y < -0.5 || b.x + b.width > view.width + 0.5 || b.y + b.height > view.height + 0.5)
        say('leaves its chart', text);
      for (const [o, other] of seen)
        if (Math.min(b.x + b.width, o.x + o.width) - Math.max(b.x, o.x) > 1 &&
            Math.min(b.y + b.height, o.y + o.height) - Math.max(b.y, o.y) > 3.5)
          say('lies on "' + other.textContent + '"', text);
      seen.push([b, text]);
      readable(text, style.fill, parseFloat(style.fontSize) * scale);
    }
  }
  const loaded = performance.getEntriesByType('resource').filter(r => !r.name.startsWith('data:'));
  if (loaded.length) problems.push('the page loads ' + loaded[0].name);
  const dark = matchMedia('(prefers-color-scheme: dark)').matches;
  parent.postMessage((problems.length ? 'BAD ' : 'OK ') + location.pathname.split('/').pop() + ' ' +
                     innerWidth + ' ' + (dark ? 'dark' : 'light') +
                     ' texts=' + texts.length + ' ' + problems.slice(0, 12).join('; '), '*');
});
</script>)js";

std::string browser() {
  for (const std::string name : {"chromium", "chromium-browser", "google-chrome"})
    if (std::system(("command -v " + name + " >/dev/null 2>&1").c_str()) == 0) return name;
  return "";
}

/// The page with the check in it; its policy forbids scripts, so the policy goes.
std::string with_check(std::string html) {
  const std::size_t policy = html.find("<meta http-equiv=");
  html.erase(policy, html.find('>', policy) + 1 - policy);
  return html.insert(html.find("<body>"), kCheck);
}

/// Opens every page in frames of 390 and 1280 pixels; one line per frame.
std::vector<std::string> look_at(const fs::path& folder, const std::vector<std::string>& pages, bool dark) {
  std::ofstream frames(folder / "frames.html");
  frames << "<!DOCTYPE html><meta charset=utf-8><body><script>addEventListener('message', e => {"
            "const p = document.createElement('p'); p.textContent = '@@' + e.data + '@@'; document.body.append(p); "
            "});</script>\n";
  for (const std::string& page : pages)
    for (const char* size : {"width:390px;height:844px", "width:1280px;height:900px"})
      frames << "<iframe src=\"" << page << "\" style=\"border:0;" << size << "\"></iframe>\n";
  frames.close();
  // --no-sandbox: test machines are often containers that run as root.
  const std::string command =
      "timeout 240 " + browser() +
      " --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --log-level=3 --dump-dom "
      "--virtual-time-budget=5000 " +
      (dark ? "--blink-settings=preferredColorScheme=0" : "--blink-settings=preferredColorScheme=1") +
      " --user-data-dir='" + (folder / "profile").string() + "' --window-size=1400,1000 'file://" +
      (folder / "frames.html").string() + "' >'" + (folder / "dom").string() + "' 2>'" + (folder / "errors").string() +
      "'";
  const int status = std::system(command.c_str());
  const std::string dom = test::read_text(folder / "dom");
  std::vector<std::string> verdicts;
  for (std::size_t at = dom.find("<p>@@"); at != std::string::npos; at = dom.find("<p>@@", at + 1))
    verdicts.push_back(dom.substr(at + 5, dom.find("@@</p>", at) - at - 5));
  EXPECT_EQ(verdicts.size(), 2 * pages.size()) << "exit status " << status << "\n"
                                               << test::read_text(folder / "errors");
  return verdicts;
}

TEST(Browser, ReportsAreReadableOnPhoneAndDesktopInLightAndDark) {
  if (browser().empty())
    GTEST_SKIP() << "no Chromium here (scripts/setup --browser installs it): the report was not looked at";
  const test::TemporaryFolder folder;
  const auto write = [&](const std::string& name, const ReportData& data) {
    std::ofstream(folder.path() / name) << with_check(report_html(data));
  };
  ReportOptions options;
  options.threads = 1;
  options.noise_images = 2;
  const test::SavedModel vit = test::save_model(folder.path(), "vit_token");
  options.file_bytes = vit.bytes;
  options.speed = false;
  write("plain.html", collect_report(vit.quantized, nullptr, options));
  options.samples = test::embedded_images(4, 4);
  options.labelled = true;
  ReportData full = collect_report(vit.quantized, &vit.reference, options);
  full.speed = Speed{33.4, 10.1, 5, 2, "Some CPU", "avx2"};
  write("full.html", full);
  write("extreme.html", test::extreme_report(full));
  std::vector<std::string> pages{"plain.html", "full.html", "extreme.html"};
  options.samples.clear();
  for (const Grouping grouping : {Grouping::kIgq, Grouping::kUpperBound, Grouping::kLayer}) {
    QuantizeOptions quantize;
    quantize.grouping = grouping;
    quantize.groups = 5;
    pages.push_back("swin_" + std::string(grouping_name(grouping)) + ".html");
    write(pages.back(),
          collect_report(test::save_model(folder.path(), "swin_stages", quantize).quantized, nullptr, options));
  }
  for (const bool dark : {false, true})
    for (const std::string& verdict : look_at(folder.path(), pages, dark)) {
      EXPECT_EQ(verdict.substr(0, 3), "OK ") << verdict;
      EXPECT_NE(verdict.find(dark ? " dark " : " light "), std::string::npos) << verdict;
      EXPECT_EQ(verdict.find("texts=0"), std::string::npos) << verdict;
    }
}

TEST(Browser, TheCheckFindsWhatItLooksFor) {
  if (browser().empty()) GTEST_SKIP() << "no Chromium here (scripts/setup --browser installs it)";
  const test::TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> faults{
      {"overflows its box",
       "<div style=\"width:80px;white-space:nowrap\">far more text than fits into eighty pixels</div>"},
      {"leaves the page", "<div style=\"width:2000px\">wide</div>"},
      {"leaves its chart", "<svg viewBox=\"0 0 100 20\"><text x=\"90\" y=\"15\">outside</text></svg>"},
      {"lies on",
       "<svg viewBox=\"0 0 100 40\"><text x=\"5\" y=\"15\">one</text><text x=\"9\" y=\"17\">two</text></svg>"},
      {"script error", "<script>undefinedFunction()</script>"},
      {"too faint", "<p style=\"color:#bbb;background:#fff\">pale</p>"},
      {"too small", "<p style=\"font-size:6px\">tiny</p>"},
      {"missing", "<img src=\"data:image/png;base64,AAAA\">"},
  };
  std::vector<std::string> pages;
  for (std::size_t i = 0; i < faults.size(); ++i) {
    pages.push_back("fault" + std::to_string(i) + ".html");
    std::ofstream(folder.path() / pages.back())
        << "<!DOCTYPE html><meta charset=utf-8><body>" << kCheck << faults[i].second << "</body>";
  }
  const std::vector<std::string> verdicts = look_at(folder.path(), pages, false);
  for (std::size_t i = 0; i < faults.size(); ++i) {
    int found = 0;
    for (const std::string& v : verdicts)
      found += v.find(pages[i]) != std::string::npos && v.starts_with("BAD ") &&
               v.find(faults[i].first) != std::string::npos;
    EXPECT_EQ(found, 2) << faults[i].first;
  }
}

}  // namespace
}  // namespace igq::report
