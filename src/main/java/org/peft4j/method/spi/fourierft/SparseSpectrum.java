package org.peft4j.method.spi.fourierft;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.nn.seam.WeightDelta;
import org.peft4j.ops.Device;

/**
 * The real part of the inverse Fourier transform of a matrix that is 0 but for the coefficients.
 *
 * @param coefficients [K]
 * @param places theirs in the matrix [out, in], row by row, int64 [K]
 */
record SparseSpectrum(Parameter coefficients, Tensor places, long out, long in, double scaling) implements WeightDelta {
    @Override
    public Tensor matrix() {
        Tensor spectrum = Tensors.zeros(Device.of(places), out * in)
                .index_copy(0, places, coefficients.value())
                .view(out, in);
        return torch.real(torch.fft_ifft2(spectrum)).mul(new Scalar(scaling));
    }
}
