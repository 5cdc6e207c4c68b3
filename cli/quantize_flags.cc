#include "quantize_flags.h"

#include "base/fail.h"
#include "calibration/site_pattern.h"
#include "calibration/views.h"
#include "common.h"

namespace igq::cli {
namespace {

void check_fits(const Network& model, const char* flag, const std::string& pattern) {
  const std::regex regex = site_pattern(pattern);
  for (const Site& site : model.sites())
    if (std::regex_search(site.name, regex)) return;
  fail("{} '{}' fits no site of the model: `igq inspect` prints their names", flag, pattern);
}

}  // namespace

void QuantizeFlags::check_sites(const Network& model) const {
  if (!keep.empty()) check_fits(model, "--keep", keep);
  for (const std::string& text : site_bits) check_fits(model, "--site-bits", parse_site_bits(text).first);
}

void QuantizeFlags::add_to(CLI::App& app, bool with_grid) {
  app_ = &app;
  with_grid_ = with_grid;
  if (with_grid) {
    app.add_option("--bits", bits,
                   "bits of weights and activations, 2 to 8 each: w4a4, w6a6, w4a8 ..., or auto: chosen per layer by "
                   "measurement,\nunder --average-bits or --file-size")
        ->check(parsed_by(
            [](const std::string& t) {
              if (t != "auto") parse_bits(t);
            },
            "wXaY|auto"))
        ->capture_default_str();
    app.add_option(
           "--average-bits", average_bits,
           "with --bits auto: weights take no more of the file, and activations no more bit operations, than so\n"
           "many bits in every layer: a number from 2 to 8, or one each, e.g. w3.5a4 (default: 4)")
        ->check(parsed_by([](const std::string& t) { parse_average_bits(t); }, "N|wXaY"));
    app.add_option(
           "--file-size", file_size,
           "with --bits auto: megabytes (10^6 bytes) that the .igq file may take, instead of the weights' average")
        ->check(number_in(1e-3, 1e6));
    app.add_option("--groups", groups,
                   "groups (quantizers) per layer, or auto: chosen per layer under a budget of bit operations")
        ->check(parsed_by([](const std::string& t) { parse_groups(t); }, "N|auto"))
        ->capture_default_str();
    app.add_option("--preset", preset,
                   "best: what loses least (grouping scale, softmax and qkv by row, balanced queries and keys, keys "
                   "and values less their means, weights auto, in groups of 64 at 2 to 4 bits);\n"
                   "paper: IGQ-ViT as we read it (grouping igq, bounds mse, weights rounded to nearest)\n"
                   "(default: best, or paper when --grouping is given)")
        ->check(parsed_by([](const std::string& t) { parse_preset(t); }, "NAME"));
    app.add_option("--grouping", grouping,
                   "how channels share quantizers: layer (one per site), static-group (fixed consecutive channels),\n"
                   "igq (the paper: channels regrouped for each image), scale (groups share a scale, zero-points per\n"
                   "channel and image), upper-bound (a quantizer per channel)")
        ->check(parsed_by([](const std::string& t) { parse_grouping(t); }, "NAME"));
    app.add_option("--average-groups", average_groups,
                   "with --groups auto: the budget is what so many groups in every layer cost")
        ->check(CLI::Range(1, 1024))
        ->capture_default_str();
    app.add_option("--budget-gbops", budget_gbops, "with --groups auto: the budget in 10^9 bit operations per image")
        ->check(number_in(1e-6, 1e9));
  }
  app.add_option("--perturbation-cache", perturbation_cache,
                 "with --groups or --bits auto: keep what was measured per layer in this file, for the next run");
  app.add_flag(
      "--measure-all", measure_all,
      "with --groups or --bits auto: run the network for every candidate (method.md) instead of two per layer\n"
      "and a fit through them, which is five times faster and was the better of the two on 32 images");
  app.add_option("--weights", weights,
                 "how weights are rounded: rtn (to nearest, the paper), gptq or erq (second order, on the calibration "
                 "images), or\n"
                 "auto: of these what errs least on calibration images held back, layer by layer")
      ->check(parsed_by([](const std::string& t) { parse_weight_method(t); }, "NAME"));
  app.add_flag("--balance", balance,
               "rewrite queries and keys so that they lose less per token (the float model stays the same)");
  app.add_flag("--centre-v", centre_v,
               "code the values of attention less their mean over the tokens, which what softmax codes round away then "
               "cannot take from the outputs");
  app.add_flag("--centre-k", centre_k,
               "with --qkv row: code the keys of attention less their mean over the tokens, which no softmax notices");
  app.add_option("--scales", scales,
                 "grouping scale: integer (multiples of one unit, which are added up without float sums: fastest, and "
                 "at up to 5 bits\n"
                 "all multiples that fit a byte whatever --groups says) or free (default: integer for best,\n"
                 "free otherwise and where --groups auto is to choose the groups)")
      ->check(CLI::IsMember({"integer", "free"}));
  app.add_option("--views", views, "gptq, erq: shifted and mirrored copies of each calibration image")
      ->check(CLI::Range(1, kMaxViews))
      ->capture_default_str();
  app.add_option("--ridge", ridge, "gptq, erq: weight of keeping the weights, relative to the inputs' mean energy")
      ->check(CLI::Range(1e-6, 1e3))
      ->capture_default_str();
  CLI::Option* tuned = app.add_flag(
      "--reconstruct", reconstruct,
      "after weights are rounded, tune norms, biases and weight scales block by block to the float model's outputs");
  app.add_option("--reconstruct-minutes", reconstruct_minutes,
                 "with --reconstruct: stop after so long and keep what is done (0: no limit); where time ends depends "
                 "on the machine")
      ->check(number_in(0.0, 1e6))
      ->needs(tuned)
      ->capture_default_str();
  app.add_option(
         "--bounds", bounds,
         "bounds of an igq group: mse (least expected error, the default of paper), mean (the literal reading of the\n"
         "paper, which clips) or envelope (10 % and 90 % quantiles)")
      ->check(parsed_by([](const std::string& t) { parse_group_bounds(t); }, "NAME"));
  app.add_option("--softmax", softmax, "grouping of softmax rows, or row: a scale per row (default: as --grouping)")
      ->check(parsed_by([](const std::string& t) { parse_softmax(t); }, "NAME"));
  app.add_option("--qkv", qkv, "quantizers of q, k and v: float, tensor, head or row (default: follows --grouping)")
      ->check(parsed_by([](const std::string& t) { parse_qkv_grouping(t); }, "NAME"));
  app.add_option("--first-last-bits", first_last_bits,
                 "bits of patch embedding and head, weights and activations; 32 keeps them float")
      ->check(CLI::IsMember({2, 3, 4, 5, 6, 7, 8, 32}))
      ->capture_default_str();
  app.add_option("--weight-quantile", weight_quantile,
                 "share of an output channel's weights clipped at either end where they are rounded to nearest\n"
                 "(default: the preset's, 0.0001 for paper, 0 for best)")
      ->check(number_in(0.0, 0.2));
  app.add_option("--weight-groups", weight_groups,
                 "weights of 2 to 4 bits: so many inputs of an output channel share a multiplier and a zero-point, "
                 "e.g. 32, 64 or 128;\n"
                 "costs file size and, on AVX2 without VNNI, time; 0: one scale per output channel (default: the "
                 "preset's, 0 for paper, 64 for best)")
      ->check(CLI::Range(0, 4096));
  app.add_option("--keep", keep, "regular expression: sites that stay float")->check(parsed_by(site_pattern, "REGEX"));
  app.add_option("--site-bits", site_bits,
                 "REGEX=w6a6: other bits for the sites that match; may be repeated, the last match wins")
      ->check(parsed_by([](const std::string& t) { parse_site_bits(t); }, "REGEX=wXaY"));
  app.add_option("--seed", seed, "of every random choice: the same seed gives the same bytes")
      ->check(parsed_by([](const std::string& t) { parse_seed(t); }, "N"))
      ->capture_default_str();
}

}  // namespace igq::cli
