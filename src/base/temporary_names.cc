#include "base/temporary_names.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstring>

#include "base/output_file.h"

namespace igq {
namespace {

/// No memory is asked for: a signal handler reads it.
struct Place {
  enum State { kFree, kFilling, kHeld };
  std::atomic<int> state{kFree};
  int folder_fd = -1;
  std::array<char, 4096> name{};
};
std::array<Place, 8> places;

}  // namespace

int register_temporary(int folder_fd, const std::string& name) noexcept {
  if (name.size() >= places[0].name.size()) return -1;
  for (std::size_t i = 0; i < places.size(); ++i) {
    int free = Place::kFree;
    if (!places[i].state.compare_exchange_strong(free, Place::kFilling)) continue;
    places[i].folder_fd = folder_fd;
    std::memcpy(places[i].name.data(), name.c_str(), name.size() + 1);
    places[i].state.store(Place::kHeld);
    return static_cast<int>(i);
  }
  return -1;
}

void forget_temporary(int place) noexcept {
  if (place >= 0) places[static_cast<std::size_t>(place)].state.store(Place::kFree);
}

void remove_temporaries() noexcept {
  for (Place& place : places)
    if (place.state.load() == Place::kHeld) ::unlinkat(place.folder_fd, place.name.data(), 0);
}

}  // namespace igq
