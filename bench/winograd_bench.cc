// Whether Winograd's F(2x2, 3x3) in bytes would pay at 4 bits: a prototype of it beside the engine's direct
// convolution, one thread, in turn (docs/notebook/four-bits.md). With codes less their zero-point, d in [-15, 15], and
// weights g in
// [-8, 7],
//
//   4 y = A^T [ (2G g 2G^T) * (B^T d B) ] A      (Lavin and Gray 2016, without fractions)
//
// has inputs within +-60 and weights within +-72: bytes, 16 products for 4 outputs instead of 36, exact. The prototype
// takes codes and gives sums; quantizing and scales, which the direct convolution's time includes, are left out of its
// time.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/aligned_buffer.h"
#include "base/cpu.h"
#include "base/random.h"
#include "bench/fma_peak.h"
#include "ops/conv2d.h"
#include "quant/weights.h"

namespace {

using igq::kernels::kBytePanel;

constexpr int kChannels = 256, kPositions = 16, kTiles = 64, kOffset = 60;

/// B^T d B of one tile: four rows of four pixels, `channels` bytes each; written to 16 planes `plane` bytes apart.
void transform_input(const std::int8_t* const rows[4], int channels, std::uint8_t* out, std::int64_t plane) {
  std::int8_t t[4][4][kChannels];  // B^T d
  for (int x = 0; x < 4; ++x) {
    const std::int8_t *d0 = rows[0] + x * channels, *d1 = rows[1] + x * channels, *d2 = rows[2] + x * channels,
                      *d3 = rows[3] + x * channels;
    for (int c = 0; c < channels; ++c) {
      t[0][x][c] = static_cast<std::int8_t>(d0[c] - d2[c]);
      t[1][x][c] = static_cast<std::int8_t>(d1[c] + d2[c]);
      t[2][x][c] = static_cast<std::int8_t>(d2[c] - d1[c]);
      t[3][x][c] = static_cast<std::int8_t>(d1[c] - d3[c]);
    }
  }
  for (int y = 0; y < 4; ++y) {
    const std::int8_t *t0 = t[y][0], *t1 = t[y][1], *t2 = t[y][2], *t3 = t[y][3];
    std::uint8_t *o0 = out + (4 * y) * plane, *o1 = o0 + plane, *o2 = o1 + plane, *o3 = o2 + plane;
    for (int c = 0; c < channels; ++c) {
      o0[c] = static_cast<std::uint8_t>(t0[c] - t2[c] + kOffset);
      o1[c] = static_cast<std::uint8_t>(t1[c] + t2[c] + kOffset);
      o2[c] = static_cast<std::uint8_t>(t2[c] - t1[c] + kOffset);
      o3[c] = static_cast<std::uint8_t>(t1[c] - t3[c] + kOffset);
    }
  }
}

/// A^T m A / 4 of one tile: 16 planes of sums (whole numbers below 2^24) to 2x2 outputs.
void transform_output(const float* m, std::int64_t plane, int channels, float* y0, float* y1) {
  float t[2][4][kChannels];
  for (int x = 0; x < 4; ++x) {
    const float *m0 = m + x * plane, *m1 = m + (4 + x) * plane, *m2 = m + (8 + x) * plane, *m3 = m + (12 + x) * plane;
    for (int c = 0; c < channels; ++c) {
      t[0][x][c] = m0[c] + m1[c] + m2[c];
      t[1][x][c] = m1[c] - m2[c] - m3[c];
    }
  }
  for (int y = 0; y < 2; ++y) {
    float* to = y == 0 ? y0 : y1;
    for (int c = 0; c < channels; ++c) {
      to[c] = 0.25f * (t[y][0][c] + t[y][1][c] + t[y][2][c]);
      to[channels + c] = 0.25f * (t[y][1][c] - t[y][2][c] - t[y][3][c]);
    }
  }
}

class Winograd {
 public:
  /// weights [ky][kx][in][out], -8 to 7.
  Winograd(const std::vector<std::int8_t>& weights, const igq::kernels::Kernels& kernels) : kernels_(kernels) {
    constexpr int kG[4][3] = {{2, 0, 0}, {1, 1, 1}, {1, -1, 1}, {0, 0, 2}};
    const std::size_t plane = std::size_t{kChannels} * kChannels;
    std::vector<std::int32_t> order(kChannels);
    for (int k = 0; k < kChannels; ++k) order[static_cast<std::size_t>(k)] = k;
    const std::vector<std::int16_t> zero(kChannels, kOffset);
    const std::int32_t end = kChannels;
    std::vector<std::int8_t> transformed(plane);
    for (int position = 0; position < kPositions; ++position) {
      for (std::size_t i = 0; i < plane; ++i) {
        int sum = 0;
        for (int ky = 0; ky < 3; ++ky)
          for (int kx = 0; kx < 3; ++kx)
            sum += kG[position / 4][ky] * kG[position % 4][kx] *
                   weights[static_cast<std::size_t>(ky * 3 + kx) * plane + i];
        transformed[i] = static_cast<std::int8_t>(sum);
      }
      for (int n0 = 0; n0 < kChannels; n0 += kBytePanel) {
        panels_.emplace_back(kernels.panel_bytes(kChannels, 1, kRange));
        corrections_.emplace_back(kBytePanel);
        kernels.pack_bytes({transformed.data() + n0, kChannels, kBytePanel, kRange},
                           {order.data(), kChannels, zero.data(), &end, 1}, panels_.back().data(),
                           corrections_.back().data());
      }
    }
  }

  /// codes [height + 2][width + 2][kChannels] with a border of zeros, height and width even -> y
  /// [height][width][kChannels].
  void run(const std::int8_t* codes, int height, int width, float* y) {
    inputs_.resize(std::size_t{kPositions} * kTiles * kChannels);
    sums_.resize(std::size_t{kPositions} * kTiles * kChannels);
    constexpr std::int64_t kPlane = std::int64_t{kTiles} * kChannels;
    const int across = width / 2, tiles = height / 2 * across;
    const std::int64_t row = std::int64_t{width + 2} * kChannels;
    for (int begin = 0; begin < tiles; begin += kTiles) {
      const int count = std::min(kTiles, tiles - begin);
      for (int i = 0; i < count; ++i) {
        const std::int8_t* corner = codes + 2 * ((begin + i) / across) * row + 2 * ((begin + i) % across) * kChannels;
        const std::int8_t* const rows[4] = {corner, corner + row, corner + 2 * row, corner + 3 * row};
        transform_input(rows, kChannels, inputs_.data() + i * kChannels, kPlane);
      }
      for (int position = 0; position < kPositions; ++position) multiply(position, count);
      for (int i = 0; i < count; ++i) {
        float* to = y + (std::int64_t{2} * ((begin + i) / across) * width + 2 * ((begin + i) % across)) * kChannels;
        transform_output(sums_.data() + i * kChannels, kPlane, kChannels, to, to + std::int64_t{width} * kChannels);
      }
    }
  }

 private:
  static constexpr igq::kernels::CodeRange kRange = {2 * kOffset, 72};

  void multiply(int position, int count) {
    static const std::vector<float> ones(kBytePanel, 1.0f);
    static constexpr float kOne = 1.0f;
    static constexpr std::int32_t kEnd = kChannels;
    igq::kernels::ByteGemm g{};
    const std::int64_t plane = std::int64_t{position} * kTiles * kChannels;
    g.a = inputs_.data() + plane;
    g.lda = kChannels;
    g.rows = count;
    g.groups = 1;
    g.group_end = &kEnd;
    g.group_scale = &kOne;
    g.col_scale = ones.data();
    g.ldy = kChannels;
    g.cols = kBytePanel;
    g.range = kRange;
    for (int n0 = 0; n0 < kChannels; n0 += kBytePanel) {
      const auto p = static_cast<std::size_t>(position * (kChannels / kBytePanel) + n0 / kBytePanel);
      g.panel = panels_[p].data();
      g.corrections = corrections_[p].data();
      g.y = sums_.data() + plane + n0;
      kernels_.byte_gemm(g);
    }
  }

  const igq::kernels::Kernels& kernels_;
  std::vector<igq::AlignedBuffer<std::byte>> panels_;
  std::vector<igq::AlignedBuffer<std::int32_t>> corrections_;
  igq::AlignedBuffer<std::uint8_t> inputs_;
  igq::AlignedBuffer<float> sums_;
};

/// Ends the program where an output is not the sum of its products.
void check(const std::int8_t* codes, const std::vector<std::int8_t>& weights, int height, int width, const float* y) {
  igq::Random random(3);
  for (int n = 0; n < 300; ++n) {
    const auto py = static_cast<int>(random.below(static_cast<std::uint64_t>(height))),
               px = static_cast<int>(random.below(static_cast<std::uint64_t>(width))),
               o = static_cast<int>(random.below(kChannels));
    std::int64_t sum = 0;
    for (int ky = 0; ky < 3; ++ky)
      for (int kx = 0; kx < 3; ++kx)
        for (int c = 0; c < kChannels; ++c)
          sum += codes[(std::int64_t{py + ky} * (width + 2) + px + kx) * kChannels + c] *
                 weights[static_cast<std::size_t>(((ky * 3 + kx) * kChannels + c) * kChannels + o)];
    if (static_cast<float>(sum) == y[(std::int64_t{py} * width + px) * kChannels + o]) continue;
    std::fprintf(stderr, "Winograd is not exact\n");
    std::exit(1);
  }
}

std::shared_ptr<igq::LinearPlan> layer_plan(const igq::AlignedBuffer<float>& weight, int bits) {
  auto plan = std::make_shared<igq::LinearPlan>();
  plan->weight = igq::quantize_weights(weight, 9 * kChannels, kChannels, bits, 0.0);
  plan->input.grouping = igq::Grouping::kLayer;
  plan->input.bits = bits;
  plan->input.groups = {{-1.0f, 1.0f}};
  return plan;
}

/// Least and median seconds of rounds in turn.
struct Times {
  std::vector<double> all;
  double median() {
    std::sort(all.begin(), all.end());
    return all[all.size() / 2];
  }
};

void compare(igq::Isa isa, int height, int width) {
  igq::Random random(1);
  std::vector<std::int8_t> weights(std::size_t{9} * kChannels * kChannels);
  for (auto& w : weights) w = static_cast<std::int8_t>(static_cast<int>(random.below(16)) - 8);
  std::vector<std::int8_t> codes(static_cast<std::size_t>(height + 2) * static_cast<std::size_t>(width + 2) *
                                 kChannels);
  for (int y = 1; y <= height; ++y)
    for (std::size_t i = 0; i < static_cast<std::size_t>(width) * kChannels; ++i)
      codes[(static_cast<std::size_t>(y) * static_cast<std::size_t>(width + 2) + 1) * kChannels + i] =
          static_cast<std::int8_t>(static_cast<int>(random.below(31)) - 15);
  const std::size_t values = static_cast<std::size_t>(height) * static_cast<std::size_t>(width) * kChannels;
  igq::AlignedBuffer<float> x(values), y(values), weight(weights.size()), bias(kChannels);
  for (float& v : x) v = static_cast<float>(2.0 * random.uniform() - 1.0);
  for (float& v : weight) v = static_cast<float>(random.uniform() - 0.5);
  bias.resize_zero(kChannels);
  const igq::kernels::Kernels& kernels = igq::kernels::kernels_for(isa);
  Winograd winograd(weights, kernels);
  igq::ExecContext context;
  context.kernels = &kernels;
  context.execution = igq::Execution::kInteger;
  std::vector<igq::Conv2d> direct;
  for (const int bits : {8, 4}) {
    direct.emplace_back("conv", igq::ConvShape{kChannels, kChannels, 3, 1, 1},
                        std::span<const float>(weight.data(), weight.size()),
                        std::span<const float>(bias.data(), bias.size()));
    direct.back().set_plan(layer_plan(weight, bits));
    direct.back().prepare(igq::Execution::kInteger, kernels);
  }
  Times times[3];
  for (int round = 0; round < 9; ++round) {
    for (std::size_t i = 0; i < 2; ++i) {
      context.arena.reset();
      const double begin = igq::bench::thread_seconds();
      direct[i].forward(context, x.data(), {1, height, width}, y.data());
      times[i].all.push_back(igq::bench::thread_seconds() - begin);
    }
    const double begin = igq::bench::thread_seconds();
    winograd.run(codes.data(), height, width, y.data());
    times[2].all.push_back(igq::bench::thread_seconds() - begin);
    if (round == 0) check(codes.data(), weights, height, width, y.data());
  }
  const double eight = times[0].median(), four = times[1].median(), fast = times[2].median();
  std::printf("| %s | %dx%d | %.2f | %.2f | %.2f | %.2f |\n", std::string(igq::isa_name(isa)).c_str(), height, width,
              1e3 * eight, 1e3 * four, 1e3 * fast, eight / fast);
}

}  // namespace

int main() {
  std::printf(
      "%s\n| instruction set | map | direct, 8 bits, ms | direct, 4 bits, ms | Winograd, 4 bits, ms | 8 bits / "
      "Winograd |\n"
      "|---|---|---:|---:|---:|---:|\n",
      igq::cpu_name().c_str());
  for (const igq::Isa isa : igq::supported_isas()) {
    const std::string name(igq::isa_name(isa));
    if (!name.starts_with("avx512-vnni") && !name.starts_with("amx") && !name.starts_with("avx-vnni")) continue;
    compare(isa, 100, 168);
    compare(isa, 50, 84);
    compare(isa, 26, 42);
  }
}
