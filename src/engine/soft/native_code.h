// The type of a generated stub; native_stub.h makes them.
#pragma once

namespace dejavm::soft {

struct NativeFrame;
using NativeCode = void (*)(NativeFrame* frame);

}  // namespace dejavm::soft
