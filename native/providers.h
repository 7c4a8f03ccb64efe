#pragma once
#include <string>

namespace peft4j {

enum class Operation { kLoraLinear, kAttention, kLayerNorm, kGelu, kDropout };
enum class Provider { kOwn, kLibrary, kReference };

/*
Which implementation of an operation runs: `own` kernels, the `library` (libtorch), or the slow `reference` that tests
compare with. Forced by set_kernels("reference") for all operations that have that provider, or for single ones by
set_kernels("attention=reference,gelu=library"); else chosen by the one table in providers.cpp. "auto" forgets what was
forced. The setting is the process's; it is read at each forward, and backward follows its forward.
*/
Provider provider_of(Operation operation);

}  // namespace peft4j
