// expect: plait: a unique_ptr to a class with virtual functions would lose what is derived from it
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

#include <memory>

struct Animal {
    virtual ~Animal() = default;
};

auto write(const std::unique_ptr<Animal>& animal) { return plait::multiprocessing::encode(animal); }
