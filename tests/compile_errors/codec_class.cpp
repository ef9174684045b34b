// expect: plait: this class is neither a standard type that the codec knows nor a plain struct
// SPDX-License-Identifier: MIT
#include <plait/multiprocessing/codec.hpp>

class Secret {
public:
    explicit Secret(int number) : number_{number} {}
    [[nodiscard]] int number() const { return number_; }

private:
    int number_;
};

auto write(const Secret& secret) { return plait::multiprocessing::encode(secret); }
