/* cross_entropy, adamw, rotary, gated_mlp and rational on rows that lie far apart. */
#include "far_rows.h"

namespace peft4j::cuda::test {
namespace {

constexpr int64_t kRows = 4, kColumns = 128;

template <class T>
void check_all() {
  const auto same = [](const char* what, const auto& run) { expect_the_same_far_apart(what, kColumns, run); };
  same("cross_entropy", [](int64_t apart) {
    const FarRows<T> logits("logits", kRows, kColumns, apart, 1);
    const DeviceBuffer<int64_t> labels(std::vector<int64_t>{0, 5, 127, 64}, "labels");
    const FarRows<float> loss("loss", 1, kRows, kRows);
    const peft4j_cuda_cross_entropy_params p{logits.data(), labels.data(), loss.data(), kRows, kColumns,
                                             apart,         kDtype<T>,     1,           0,     0.1f};
    expect_success("cross_entropy", peft4j_cuda_cross_entropy(&p, nullptr));
    return numbers_of(logits, loss);
  });
  same("adamw", [](int64_t apart) {
    const FarRows<float> parameter("parameter", kRows, kColumns, kColumns, 1),
        gradient("gradient", kRows, kColumns, kColumns, 2), average("exp_avg", kRows, kColumns, kColumns, 3);
    const DeviceBuffer<float> squares(std::vector<float>(kRows * kColumns, 1.0f), "exp_avg_sq");
    const FarRows<T> copy("copy", kRows, kColumns, apart);
    const peft4j_cuda_adamw_tensor tensor{
        parameter.data(), gradient.data(), average.data(), squares.data(), copy.data(), kRows * kColumns,
        kColumns,         apart,           1e-2,           1e-2,           kDtype<T>};
    expect_success("adamw", peft4j_cuda_adamw(&tensor, 1, 0.9, 0.999, 1e-8, 3, nullptr));
    return numbers_of(parameter, copy);
  });
  same("rotary", [](int64_t apart) {
    const FarRows<T> q("q", kRows, kColumns, apart, 1), k("k", kRows, kColumns, apart, 2),
        q_out("q_out", kRows, kColumns, apart), k_out("k_out", kRows, kColumns, apart);
    const DeviceBuffer<int32_t> positions(std::vector<int32_t>{0, 1, 7, 100}, "positions");
    const DeviceBuffer<float> frequencies(std::vector<float>(32, 0.5f), "inverse_frequencies");
    const peft4j_cuda_rotary_params p{kDtype<T>,
                                      0,
                                      0,
                                      0,
                                      kRows,
                                      2,
                                      2,
                                      64,
                                      64,
                                      q.data(),
                                      k.data(),
                                      q_out.data(),
                                      k_out.data(),
                                      apart,
                                      apart,
                                      apart,
                                      apart,
                                      positions.data(),
                                      frequencies.data(),
                                      1.0f};
    expect_success("rotary", peft4j_cuda_rotary(&p, nullptr));
    return numbers_of(q_out, k_out);
  });
  same("gated_mlp", [](int64_t apart) {
    const FarRows<T> gate("gate", kRows, kColumns, apart, 1), up("up", kRows, kColumns, apart, 2),
        dy("dy", kRows, kColumns, apart, 3), y("y", kRows, kColumns, apart), again("y", kRows, kColumns, apart),
        dgate("dgate", kRows, kColumns, apart), dup("dup", kRows, kColumns, apart);
    peft4j_cuda_gated_mlp_params p{kDtype<T>, 0,        kRows,        kColumns,   gate.data(), up.data(),
                                   dy.data(), y.data(), dgate.data(), dup.data(), apart,       apart,
                                   apart,     apart,    apart,        apart};
    expect_success("gated_mlp", peft4j_cuda_gated_mlp_forward(&p, nullptr));
    p.y = again.data();
    expect_success("gated_mlp", peft4j_cuda_gated_mlp_backward(&p, nullptr));
    return numbers_of(y, again, dgate, dup);
  });
  same("rational", [](int64_t apart) {
    const FarRows<T> x("x", kRows, kColumns, kColumns, 1), y("y", kRows, kColumns, kColumns);
    const FarRows<float> numerator("numerator", 2, 6, apart, 2), denominator("denominator", 2, 4, apart, 3);
    peft4j_cuda_rational_params p{};
    p.dtype = kDtype<T>;
    p.version = 'A';
    p.m = 5;
    p.n = 4;
    p.rows = kRows;
    p.channels = kColumns;
    p.groups = 2;
    p.x = x.data();
    p.numerator = numerator.data();
    p.denominator = denominator.data();
    p.numerator_stride = p.denominator_stride = apart;
    p.y = y.data();
    expect_success("rational", peft4j_cuda_rational_forward(&p, nullptr));
    return numbers_of(y);
  });
}

TEST(passesOverRowsTakeThemFarApart) {
  check_all<float>();
  check_all<__nv_bfloat16>();
}

}  // namespace
}  // namespace peft4j::cuda::test
