// AP over images that are drawn again: with every image once it is COCO's, with copies that of the copied data set.
#include "coco/resampled_ap.h"

#include <gtest/gtest.h>

#include "base/random.h"

namespace igq::coco {
namespace {

struct Made {
  Dataset dataset;
  std::vector<Detection> found;
};

/// `images` pictures with up to four objects of three categories, boxes found again with noise, and some invented.
Made made_up(int images, std::uint64_t seed) {
  Made made;
  Random random(seed);
  for (int k = 0; k < 3; ++k) made.dataset.categories.push_back({k + 1, "c"});
  std::int64_t id = 1;
  for (int i = 0; i < images; ++i) {
    made.dataset.images.push_back({i + 1, "", 200, 200});
    const auto count = static_cast<int>(random.below(5));
    for (int o = 0; o < count; ++o) {
      Annotation object;
      object.id = id++;
      object.image = i;
      object.category = static_cast<int>(random.below(3));
      object.box = {100 * random.uniform(), 100 * random.uniform(), 20 + 60 * random.uniform(),
                    20 + 60 * random.uniform()};
      object.area = object.box[2] * object.box[3];
      object.crowd = random.below(12) == 0;
      made.dataset.annotations.push_back(object);
      Detection detection;
      detection.image = i;
      detection.category = random.below(6) == 0 ? static_cast<int>(random.below(3)) : object.category;
      detection.score = random.uniform();
      detection.box = object.box;
      for (double& v : detection.box) v += 12 * random.uniform();
      detection.area = detection.box[2] * detection.box[3];
      made.found.push_back(detection);
    }
  }
  return made;
}

TEST(ResampledAp, EveryImageOnceIsCocosAp) {
  for (const std::uint64_t seed : {1, 2, 3}) {
    const Made made = made_up(40, seed);
    const double want = evaluate(made.dataset, made.found, IouType::kBox).stats[0];
    ASSERT_GT(want, 0.05);
    const ResampledAp resampled(made.dataset, made.found, IouType::kBox);
    EXPECT_NEAR(resampled.ap(std::vector<int>(40, 1)), want, 1e-12);
  }
}

TEST(ResampledAp, CountsStandForCopies) {
  const Made made = made_up(25, 4);
  std::vector<int> counts(25);
  Random random(5);
  Made copied;
  copied.dataset.categories = made.dataset.categories;
  std::int64_t id = 1;
  for (int i = 0; i < 25; ++i) {
    counts[static_cast<std::size_t>(i)] = static_cast<int>(random.below(4));
    for (int copy = 0; copy < counts[static_cast<std::size_t>(i)]; ++copy) {
      const auto at = static_cast<int>(copied.dataset.images.size());
      copied.dataset.images.push_back({at + 1, "", 200, 200});
      for (Annotation object : made.dataset.annotations)
        if (object.image == i) {
          object.image = at;
          object.id = id++;
          copied.dataset.annotations.push_back(object);
        }
      for (Detection detection : made.found)
        if (detection.image == i) {
          detection.image = at;
          copied.found.push_back(detection);
        }
    }
  }
  const double want =
      ResampledAp(copied.dataset, copied.found, IouType::kBox).ap(std::vector<int>(copied.dataset.images.size(), 1));
  EXPECT_NEAR(ResampledAp(made.dataset, made.found, IouType::kBox).ap(counts), want, 1e-12);
  EXPECT_GT(want, 0.01);
}

TEST(ResampledAp, IntervalsShrinkWithImagesAndRepeat) {
  const Made few = made_up(20, 6), many = made_up(320, 6);
  const auto interval = [](const Made& made) {
    return ResampledAp(made.dataset, made.found, IouType::kBox).interval_95(100, 0);
  };
  const double wide = interval(few), narrow = interval(many);
  EXPECT_GT(narrow, 0.0);
  EXPECT_LT(narrow, 0.6 * wide);
  EXPECT_EQ(wide, interval(few));
  EXPECT_EQ(interval(made_up(1, 6)), 0.0);
}

TEST(ResampledAp, WithoutObjectsThereIsNoAp) {
  Made made = made_up(3, 7);
  made.dataset.annotations.clear();
  const ResampledAp resampled(made.dataset, made.found, IouType::kBox);
  EXPECT_EQ(resampled.ap(std::vector<int>(3, 1)), -1.0);
  EXPECT_EQ(resampled.interval_95(50, 0), 0.0);
}

}  // namespace
}  // namespace igq::coco
