package org.peft4j.method.spi;

import java.util.Arrays;
import org.peft4j.method.InitRational;
import org.peft4j.ops.Ops;

/**
 * Coefficients with which rational activations begin. Those of the degrees 5 and 4 are near their functions between -3 and 3; higher
 * degrees begin with zeros behind them, but version A's 6 and 5, which are near between -5 and 5.
 *
 * @param numerator a_0, a_1, …
 * @param denominator b_1, b_2, …
 */
@SuppressWarnings("ArrayRecordComponent") // read, and never changed
public record RationalStarts(double[] numerator, double[] denominator) {
    /**
     * Those of a function.
     *
     * @param version of the denominator, A or B
     * @param m degree of the numerator; of a function that is fitted at least 5
     * @param n degree of the denominator; of a function that is fitted at least 4
     */
    public static RationalStarts of(Ops.RationalVersion version, InitRational start, int m, int n) {
        boolean a = version == Ops.RationalVersion.A;
        RationalStarts stored = a ? m == 6 && n == 5 ? wideA(start) : a(start) : b(start);
        return new RationalStarts(Arrays.copyOf(stored.numerator, m + 1), Arrays.copyOf(stored.denominator, n));
    }

    private static RationalStarts of(double[] numerator, double... denominator) {
        return new RationalStarts(numerator, denominator);
    }

    private static double[] up(double... numerator) {
        return numerator;
    }

    private static RationalStarts a(InitRational start) {
        return switch (start) {
            case GELU ->
                of(
                        up(-0.00124235945, 0.5080497063, 0.4158636318, 0.1302271869, 0.0243559001, 0.002902839482),
                        -0.06675015696,
                        0.1792764622,
                        0.03746682605,
                        1.656161085e-10);
            case RELU ->
                of(
                        up(0.02996380161, 0.6168978367, 2.375347597, 3.065990047, 1.524683188, 0.2528070864),
                        -1.191550122,
                        4.40804877,
                        0.9110357114,
                        0.3488497795);
            case SWISH ->
                of(
                        up(3.054879741e-07, 0.5000007854, 0.2499978342, 0.05326628273, 0.005803034571, 0.0002751961022),
                        -4.111554956e-06,
                        0.1065289934,
                        -1.26900074e-06,
                        0.0005502331264);
            case TANH ->
                of(
                        up(
                                -1.080462256e-08,
                                1.000300804,
                                -2.587819938e-08,
                                0.09632129918,
                                3.477584163e-09,
                                0.0004255709235),
                        -0.001302718121,
                        0.4283490174,
                        1.452430408e-09,
                        0.01079664811);
            case IDENTITY -> identity();
            case ONE -> of(up(1), 0);
        };
    }

    private static RationalStarts b(InitRational start) {
        return switch (start) {
            case GELU ->
                of(
                        up(
                                -0.0004221071457,
                                0.4999995552,
                                0.4027053545,
                                0.07366976895,
                                -0.01295478805,
                                -0.003741400258),
                        4.95853812e-05,
                        0.1472977408,
                        1.16458257e-05,
                        -0.007483871515);
            case RELU ->
                of(
                        up(0.0338971292, 0.499998544, 1.670136361, 1.990102163, 0.9413089613, 0.1509133374),
                        -2.104015209e-05,
                        3.980247851,
                        -3.166344237e-05,
                        0.301833823);
            case SWISH ->
                of(
                        up(3.259700678e-07, 0.5000000076, 0.2500169541, 0.05327519599, 0.005804580591, 0.0002752960071),
                        3.917294261e-05,
                        0.1065308384,
                        3.799151412e-06,
                        0.0005503052126);
            case TANH ->
                of(
                        up(
                                2.117294982e-09,
                                0.9999942495,
                                6.276332769e-07,
                                0.1077086451,
                                2.946556898e-08,
                                0.0008711243736),
                        6.376908338e-07,
                        0.4410141805,
                        2.27476614e-07,
                        0.01458103991);
            case IDENTITY -> identity();
            case ONE -> of(up(1), 0);
        };
    }

    private static RationalStarts wideA(InitRational start) {
        return switch (start) {
            case GELU ->
                of(
                        up(-0.001775307, 0.51078619, 0.42113438, 0.14756003, 0.036696584, 0.0069373169, 0.00059585019),
                        0.09389513,
                        0.17598479,
                        0.061752723,
                        4.4272386e-10,
                        0.0011208058);
            case RELU ->
                of(
                        up(0.028348959, 0.62501817, 2.5595429, 3.5819447, 2.0800639, 0.51690471, 0.045414384),
                        1.3578547,
                        5.0287103,
                        1.3199885,
                        0.69303445,
                        0.030705078);
            case SWISH ->
                of(
                        up(
                                2.615646e-07,
                                0.50000049,
                                0.24999876,
                                0.055211203,
                                0.0067735064,
                                0.00046332202,
                                1.4121767e-05),
                        1.8213605e-06,
                        0.1104213,
                        2.6695784e-07,
                        0.00092662155,
                        1.623978e-15);
            case TANH ->
                of(
                        up(
                                1.2035028e-14,
                                0.99987638,
                                -1.6425661e-14,
                                0.1288972,
                                2.9527008e-15,
                                0.012043885,
                                -1.1177944e-16),
                        1.7729295e-09,
                        0.45816318,
                        0.013061781,
                        0.015553658,
                        0.011181894);
            case IDENTITY -> identity();
            case ONE -> of(up(1), 0);
        };
    }

    private static RationalStarts identity() {
        return of(up(0, 1), 0);
    }
}
