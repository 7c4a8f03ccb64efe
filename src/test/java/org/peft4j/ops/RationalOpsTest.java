package org.peft4j.ops;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.peft4j.nn.Init;
import org.peft4j.nn.Tensors;
import org.peft4j.ops.Ops.RationalVersion;

/** The binding; the numbers of every degree and type are native/test's matter. */
class RationalOpsTest extends WithPointerScope {
    /** Coefficients, and what they give for x = -2, -0.5, 0.25, 1, 3 and a gradient of 1. */
    record Golden(
            String name,
            RationalVersion version,
            float[] numerator,
            float[] denominator,
            double[] y,
            double[] dx,
            double[] dNumerator,
            double[] dDenominator) {
        @Override
        public String toString() {
            return name;
        }
    }

    private static float[] floats(double... values) {
        float[] all = new float[values.length];
        for (int i = 0; i < all.length; i++) {
            all[i] = (float) values[i];
        }
        return all;
    }

    private static double[] doubles(double... values) {
        return values;
    }

    static Stream<Golden> golden() {
        return Stream.of(
                new Golden(
                        "gelu A",
                        RationalVersion.A,
                        floats(-0.00124235945, 0.5080497063, 0.4158636318, 0.1302271869, 0.0243559001, 0.002902839482),
                        floats(-0.06675015696, 0.1792764622, 0.03746682605, 1.656161085e-10),
                        doubles(-0.045993, -0.153432, 0.149633, 0.841576, 2.995818),
                        doubles(-0.091414, 0.126077, 0.697658, 1.082887, 1.012307),
                        doubles(3.401357, 0.414627, 5.283660, 4.016733, 29.455891, 49.393569),
                        doubles(2.927892, -7.592159, -21.614198, -63.740348)),
                new Golden(
                        "swish A",
                        RationalVersion.A,
                        floats(
                                3.054879741e-07,
                                0.5000007854,
                                0.2499978342,
                                0.05326628273,
                                0.005803034571,
                                0.0002751961022),
                        floats(-4.111554956e-06, 0.1065289934, -1.26900074e-06, 0.0005502331264),
                        doubles(-0.238406, -0.188771, 0.140544, 0.731058, 2.857721),
                        doubles(-0.090783, 0.260040, 0.623709, 0.927671, 1.088087),
                        doubles(4.066732, 0.768291, 8.488858, 8.699136, 52.550080, 99.868419),
                        doubles(4.550385, -12.796602, 37.824609, -113.533747)),
                new Golden(
                        "gelu B",
                        RationalVersion.B,
                        floats(
                                -0.0004221071457,
                                0.4999995552,
                                0.4027053545,
                                0.07366976895,
                                -0.01295478805,
                                -0.003741400258),
                        floats(4.95853812e-05, 0.1472977408, 1.16458257e-05, -0.007483871515),
                        doubles(-0.045268, -0.154050, 0.149470, 0.841545, 2.996897),
                        doubles(-0.086687, 0.130990, 0.696932, 1.081784, 1.025315),
                        doubles(4.095155, 1.025546, 9.135633, 11.025361, 58.925741, 120.351619),
                        doubles(-6.138550, -16.269032, -48.051350, -141.373701)),
                new Golden(
                        "relu C",
                        RationalVersion.C,
                        floats(0.7865035432, 11.60159315, 38.75351995, 46.17884158, 21.84270198, 3.501924368),
                        floats(23.10314093, 0.0004299501319, 92.35698797, 0.0003086763883, 7.003817417),
                        doubles(0.001166, 0.003370, 0.238572, 1.000819, 2.990310),
                        doubles(-0.014637, -0.043265, 1.032620, 0.975980, 0.949019),
                        doubles(0.066723, 0.004226, 0.029920, 0.009162, 0.098306, 0.115036),
                        doubles(-0.018569, -0.016491, -0.027637, -0.065055, -0.178605)));
    }

    private static Tensor trained(float[] values, long... shape) {
        return Tensors.ofFloats(values, shape).requires_grad_(true);
    }

    private static void assertClose(Tensor found, double... expected) {
        float[] values = Tensors.toFloats(found);
        assertThat(values).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            assertThat((double) values[i]).isCloseTo(expected[i], within(1e-5 * Math.max(1, Math.abs(expected[i]))));
        }
    }

    @ParameterizedTest
    @MethodSource("golden")
    void hasItsGoldenValuesAndGradients(Golden golden) {
        Ops.Rational rational = new Ops.Rational(
                golden.version(),
                trained(golden.numerator(), 1, golden.numerator().length),
                trained(golden.denominator(), 1, golden.denominator().length),
                0);
        Tensor x = trained(floats(-2, -0.5, 0.25, 1, 3), 5);
        Tensor y = Ops.rational(x, rational);
        assertClose(y, golden.y());
        y.sum().backward();
        assertClose(x.grad(), golden.dx());
        assertClose(rational.numerator().grad(), golden.dNumerator());
        assertClose(rational.denominator().grad(), golden.dDenominator());
    }

    /** The sign of both zeros is +, so a coefficient of 0 can leave it in either direction. */
    @ParameterizedTest
    @EnumSource(names = {"A", "B"})
    void zeroHasTheSlopeOfThePositiveSide(RationalVersion version) {
        Tensor numerator = Tensors.ofFloats(floats(0.5, 1), 1, 2);
        Tensor zeros = trained(new float[2], 1, 2);
        Ops.rational(Tensors.ofFloats(floats(-2, -0.0, 0, 3), 4), new Ops.Rational(version, numerator, zeros, 0))
                .sum()
                .backward(); // db_j = -Σ P |x|ʲ, of B -Σ P xʲ, where P = x + 0.5
        boolean absolute = version == RationalVersion.A;
        assertClose(zeros.grad(), absolute ? -(-1.5 * 2 + 3.5 * 3) : -(1.5 * 2 + 3.5 * 3), -(-1.5 * 4 + 3.5 * 9));

        Tensor x = trained(floats(-0.0, 0), 2);
        Tensor denominator = Tensors.ofFloats(floats(0.25, 0), 1, 2);
        Ops.rational(x, new Ops.Rational(version, numerator, denominator, 0))
                .sum()
                .backward();
        assertClose(x.grad(), 1 - 0.5 * 0.25, 1 - 0.5 * 0.25);
    }

    @Test
    void groupsOfChannelsHaveTheirOwnCoefficients() {
        Tensor numerator = Tensors.ofFloats(floats(0, 1), 1, 2);
        Tensor denominator = Tensors.ofFloats(floats(0, 1), 2, 1);
        Ops.Rational rational = new Ops.Rational(RationalVersion.A, numerator, denominator, 0);
        assertClose(Ops.rational(Tensors.ofFloats(floats(1, 3, 1, 3), 1, 4), rational), 1, 3, 0.5, 0.75);
    }

    @Test
    void noiseOfVersionDComesFromTheSeed() {
        Tensor x = Init.normal(1, "x", 1, 40);
        Tensor numerator = Init.normal(1, "a", 1, 1, 6);
        Tensor denominator = Init.normal(1, "b", 1, 1, 4);
        float[][] y = new float[3][];
        for (int i = 0; i < y.length; i++) {
            y[i] = Tensors.toFloats(
                    Ops.rational(x, new Ops.Rational(RationalVersion.D, numerator, denominator, i / 2)));
        }
        assertThat(y[1]).isEqualTo(y[0]);
        assertThat(y[2]).isNotEqualTo(y[0]);
    }

    @Test
    void mistakesNameOperationAndArgument() {
        Tensor x = Tensors.zeros(3, 5);
        Tensor a = Tensors.zeros(1, 6);
        Tensor b = Tensors.zeros(1, 4);
        assertThatThrownBy(() -> Ops.rational(x, new Ops.Rational(RationalVersion.B, Tensors.zeros(2, 6), b, 0)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rational: 5 channels do not divide into 2 groups");
        assertThatThrownBy(() -> Ops.rational(x, new Ops.Rational(RationalVersion.A, Tensors.zeros(1, 9), b, 0)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rational: numerator must have shape [G or 1, 2 to 8], got [1, 9]");
        assertThatThrownBy(() -> Ops.rational(x, new Ops.Rational(RationalVersion.C, a, Tensors.zeros(1, 1), 0)))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("rational: denominator must have shape [G or 1, 2 to 7], got [1, 1]");
    }
}
