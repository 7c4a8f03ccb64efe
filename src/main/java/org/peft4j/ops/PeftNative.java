package org.peft4j.ops;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.FunctionPointer;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.annotation.ByRef;
import org.bytedeco.javacpp.annotation.ByVal;
import org.bytedeco.javacpp.annotation.Cast;
import org.bytedeco.javacpp.annotation.Const;
import org.bytedeco.javacpp.annotation.Namespace;
import org.bytedeco.javacpp.annotation.Platform;
import org.bytedeco.javacpp.annotation.Properties;
import org.bytedeco.javacpp.annotation.StdString;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DoubleArrayRef;
import org.bytedeco.pytorch.LongArrayRef;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;

/** The functions of {@code native/peft4j.h}, one to one; {@link Ops} is how the rest of the project calls them. */
@Properties(value = @Platform(include = "peft4j_jni.h", link = "peft4j", compiler = "cpp20", library = "jnipeft4j"))
@Namespace("peft4j")
public final class PeftNative {
    static {
        NativeLibrary.load();
    }

    private PeftNative() {}

    /** {@code peft4j::Weight}. */
    public static class Weight extends Pointer {
        static {
            NativeLibrary.load();
        }

        public Weight(TensorVector parts) {
            super((Pointer) null);
            allocate(parts);
        }

        private native void allocate(@Const @ByRef TensorVector parts);

        public native @ByVal Tensor dense();

        public native @Cast("int64_t") long out();

        public native @Cast("int64_t") long in();

        public native @StdString String layout();
    }

    static native @ByVal TensorVector lora_linear(
            @Const @ByRef Tensor x,
            @Const @ByRef Weight weight,
            @Const @ByRef Tensor bias,
            @Const @ByRef TensorVector a,
            @Const @ByRef TensorVector b,
            @ByVal LongArrayRef place,
            @ByVal DoubleArrayRef scale,
            @ByVal DoubleArrayRef dropout,
            @Cast("int64_t") long seed);

    static native @ByVal Tensor attention(
            @Const @ByRef Tensor q,
            @Const @ByRef Tensor k,
            @Const @ByRef Tensor v,
            @Const @ByRef Tensor cu_seqlens_q,
            @Const @ByRef Tensor cu_seqlens_k,
            @Cast("int64_t") long max_q,
            @Cast("int64_t") long max_k,
            @Const @ByRef Tensor prefix_k,
            @Const @ByRef Tensor prefix_v,
            @Const @ByRef Tensor gate,
            @Cast("bool") boolean causal,
            double scale,
            @Cast("int64_t") long window,
            double softcap,
            @Const @ByRef Tensor bias_table,
            @Cast("bool") boolean bias_bidirectional,
            @Cast("int64_t") long bias_max_distance,
            double dropout_p,
            @Cast("int64_t") long seed);

    static native @ByVal Tensor attention_decode(
            @Const @ByRef Tensor q,
            @Const @ByRef Tensor k,
            @Const @ByRef Tensor v,
            @Const @ByRef Tensor cu_seqlens_k,
            @Cast("int64_t") long max_k,
            @Const @ByRef Tensor block_table,
            @Const @ByRef Tensor prefix_k,
            @Const @ByRef Tensor prefix_v,
            double scale,
            @Cast("int64_t") long window,
            double softcap);

    static native @ByVal Tensor layer_norm(
            @Const @ByRef Tensor x,
            @Const @ByRef Tensor residual,
            @Const @ByRef Tensor weight,
            @Const @ByRef Tensor bias,
            double eps,
            double dropout_p,
            @Cast("int64_t") long seed);

    static native @ByVal TensorVector rms_norm(
            @Const @ByRef Tensor x,
            @Const @ByRef Tensor residual,
            @Const @ByRef Tensor weight,
            double eps,
            double weight_offset,
            double dropout_p,
            @Cast("int64_t") long seed);

    static native @ByVal TensorVector rotary(
            @Const @ByRef Tensor q,
            @Const @ByRef Tensor k,
            @Const @ByRef Tensor positions,
            @Const @ByRef Tensor inverse_frequencies,
            double scaling,
            @Cast("bool") boolean interleaved);

    static native @ByVal Tensor gated_mlp(
            @Const @ByRef Tensor gate, @Const @ByRef Tensor up, @StdString String activation);

    static native @ByVal Tensor linear(@Const @ByRef Tensor x, @Const @ByRef Tensor w, @Const @ByRef Tensor bias);

    static native @ByVal Tensor gelu(@Const @ByRef Tensor x);

    static native @ByVal Tensor dropout(@Const @ByRef Tensor x, double p, @Cast("int64_t") long seed);

    static native @ByVal Tensor token_losses(
            @Const @ByRef Tensor hidden,
            @Const @ByRef Weight weight,
            @Const @ByRef Tensor bias,
            @Const @ByRef TensorVector a,
            @Const @ByRef TensorVector b,
            @ByVal LongArrayRef place,
            @ByVal DoubleArrayRef scale,
            @ByVal DoubleArrayRef dropout,
            @Cast("int64_t") long seed,
            @Const @ByRef Tensor labels,
            double softcap,
            double label_smoothing);

    static native @ByVal Tensor token_losses(
            @Const @ByRef Tensor hidden,
            @Const @ByRef Tensor w,
            @Const @ByRef Tensor bias,
            @Const @ByRef Tensor labels,
            double softcap,
            double label_smoothing);

    static native @ByVal Tensor rational(
            @Const @ByRef Tensor x,
            @Const @ByRef Tensor numerator,
            @Const @ByRef Tensor denominator,
            @StdString String version,
            @Cast("int64_t") long seed);

    static native @ByVal Tensor prompt_generator(
            @Const @ByRef Tensor h,
            @Const @ByRef Tensor cu_seqlens,
            @Const @ByRef Tensor instruction,
            @Const @ByRef Tensor down_weight,
            @Const @ByRef Tensor down_bias,
            @Const @ByRef Tensor pool_weight,
            @Const @ByRef Tensor numerator,
            @Const @ByRef Tensor denominator,
            @StdString String version,
            @Cast("int64_t") long seed,
            @Const @ByRef Tensor up_weight,
            @Const @ByRef Tensor up_bias);

    static native void adamw(
            @Const @ByRef TensorVector parameters,
            @Const @ByRef TensorVector gradients,
            @Const @ByRef TensorVector exp_avg,
            @Const @ByRef TensorVector exp_avg_sq,
            @ByVal DoubleArrayRef learning_rate,
            @ByVal DoubleArrayRef weight_decay,
            @ByVal LongArrayRef step,
            double beta1,
            double beta2,
            double eps);

    static native double clip_grad_norm(@Const @ByRef TensorVector gradients, double max_norm);

    static native @ByVal Tensor clip_grad_norm_unread(@Const @ByRef TensorVector gradients, double max_norm);

    static native @ByVal Tensor map_tensor(
            @StdString String file, @Cast("int64_t") long offset, @ByVal LongArrayRef shape, @StdString String dtype);

    static native @Cast("int64_t") long live_bytes();

    static native @Cast("int64_t") long peak_bytes();

    static native void reset_peak_bytes();

    static native void free_kept_blocks();

    static native @Cast("int64_t") long live_bytes(@ByVal Device device);

    static native @Cast("int64_t") long peak_bytes(@ByVal Device device);

    static native @Cast("int64_t") long free_bytes(@ByVal Device card);

    static native void reset_peak_bytes(@ByVal Device device);

    static native void free_kept_blocks(@ByVal Device device);

    static native void set_kernels(@StdString String setting);

    static native @StdString String kernels_in_use();

    static native @StdString String cuda_kernels_in_use();

    static native @StdString String kernels_in_use(@ByVal Device device);

    static native void set_deterministic(@Cast("bool") boolean on);

    static native @Cast("bool") boolean deterministic();

    static native void load_cuda(@StdString String path);

    static native @StdString String cuda_devices();

    static native @StdString String missing_cuda();

    /** {@code peft4j::Logger}; called from any thread. */
    abstract static class Logger extends FunctionPointer {
        static {
            NativeLibrary.load();
        }

        Logger() {
            allocate();
        }

        private native void allocate();

        public abstract void call(@Cast("const char*") BytePointer line);
    }

    static native void set_logger(Logger logger);

    static native @StdString String cpu_capability();

    static native @Cast("bool") boolean cpu_has_bfloat16();

    static native @StdString String build_info();

    /** Makes JavaCPP's loader put our libraries behind libtorch's. */
    static void loadLibrary() {
        Loader.load(PeftNative.class);
    }
}
