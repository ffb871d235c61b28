// What hls4ml's oneAPI code takes from SYCL, for g++: pipes as queues. No timing and no scheduling is simulated.
#pragma once
#include <cstdint>
#include <deque>

#define SYCL_EXTERNAL

namespace sycl {
class queue;
namespace ext::oneapi::experimental {
template <class... Kinds> struct properties {
  properties(Kinds...) {}
};
struct properties_tag {};
}  // namespace ext::oneapi::experimental
namespace ext::intel::experimental {
template <int...> struct property {};
template <int... Values> inline constexpr property<Values...> ready_latency{};
template <int... Values> inline constexpr property<Values...> streaming_interface{};
template <int... Values> inline constexpr property<Values...> pipelined{};
template <auto &...> struct task_sequence {};
template <class Name, class Kept, std::int32_t, class> struct pipe {
  static std::deque<Kept> &waiting() {
    static std::deque<Kept> queue;
    return queue;
  }
  static Kept read() {
    Kept first = waiting().front();
    waiting().pop_front();
    return first;
  }
  static void write(const Kept &last) { waiting().push_back(last); }
};
}  // namespace ext::intel::experimental
}  // namespace sycl
