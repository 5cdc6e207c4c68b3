// What a Classifier holds: Embedder makes one of the model that it has loaded.
#pragma once

#include <atomic>
#include <memory>
#include <utility>

#include "session.h"

namespace igq {

struct Classifier::Impl {
  std::shared_ptr<Session> session;
  Runner runner;
  std::atomic<int> user{0};  ///< the process that predicts with it at the moment
  double loading_seconds = 0.0;

  Impl(std::shared_ptr<Session> opened, int threads)
      : session(std::move(opened)), runner(*session->loaded.model, session->execution, session->isa, threads) {}
  const ModelConfig& config() const { return session->config(); }
};

}  // namespace igq
