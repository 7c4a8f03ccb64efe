package org.peft4j.optim;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.seam.Parameter;
import org.peft4j.ops.Ops;

/** A step of an optimiser with what stands around each: gradients are unscaled, then clipped together, and taken away in the end. */
final class ClippedStep {
    private ClippedStep() {}

    /** See {@link Optimizer#step(double, double, double, Optimizer.Around)}. */
    static double run(Optimizer optimizer, double factor, double maxNorm, double scale, Optimizer.Around around) {
        try (PointerScope scope = new PointerScope()) {
            List<Optimizer.Given> given = given(optimizer);
            List<Tensor> gradients = gradients(given);
            if (scale != 1) {
                Scalar inverse = new Scalar(1 / scale);
                gradients.forEach(gradient -> gradient.mul_(inverse));
            }
            double norm = Ops.clipGradNorm(gradients, maxNorm);
            if (Double.isFinite(norm)) {
                around.before();
                optimizer.change(given, factor);
                around.after();
            }
            takeGradientsAway(given);
            return norm;
        }
    }

    /** See {@link Optimizer#stepAhead(double, double, Optimizer.Around)}. */
    static Tensor ahead(Optimizer optimizer, double factor, double maxNorm, Optimizer.Around around) {
        return Scopes.owned(() -> {
            List<Optimizer.Given> given = given(optimizer);
            Tensor norm = Ops.clipGradNormUnread(gradients(given), maxNorm);
            around.before();
            optimizer.change(given, factor);
            around.after();
            takeGradientsAway(given);
            return norm;
        });
    }

    private static List<Optimizer.Given> given(Optimizer optimizer) {
        List<Optimizer.Given> given = new ArrayList<>();
        for (ParameterGroup group : optimizer.groups()) {
            for (Parameter parameter : group.parameters()) {
                Tensor gradient = parameter.value().grad();
                if (gradient.defined()) {
                    given.add(new Optimizer.Given(group, parameter, gradient));
                }
            }
        }
        return given;
    }

    private static List<Tensor> gradients(List<Optimizer.Given> given) {
        return given.stream().map(Optimizer.Given::gradient).toList();
    }

    private static void takeGradientsAway(List<Optimizer.Given> given) {
        given.forEach(one -> one.parameter().value().mutable_grad().reset());
    }
}
