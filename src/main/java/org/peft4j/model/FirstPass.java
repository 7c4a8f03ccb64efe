package org.peft4j.model;

import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.peft4j.nn.seam.ForwardContext;
import org.peft4j.nn.seam.ReadRows;
import org.peft4j.nn.seam.Routing;

/**
 * What comes before a call where adapters weigh updates by what the model makes of a text ({@link Routing}): those texts go through the
 * model once more, without gradients, and the routing reads all rows behind the final norm.
 */
final class FirstPass {
    private FirstPass() {}

    /** Finds the weights of all adapters of the call that need some; once a call. */
    static void run(Model model, Inputs inputs, ForwardContext context) {
        for (ForwardContext.Segment segment : context.segments()) {
            Routing routing = segment.routing();
            if (routing != null && segment.last() > segment.first()) {
                context.route(segment, () -> routing.weights(hidden(model, inputs, segment, context), context));
            }
        }
    }

    private static Tensor hidden(Model model, Inputs inputs, ForwardContext.Segment segment, ForwardContext context) {
        long begin = context.text().begin(segment.first());
        long end = context.text().end(segment.last() - 1);
        Inputs own = inputs.slice(Math.toIntExact(begin), Math.toIntExact(end));
        try (NoGradGuard noGrad = new NoGradGuard();
                ForwardContext pass = context.firstPass(segment)) {
            return BlockRunner.plain().forward(model, own, ReadRows.ALL, pass);
        }
    }
}
