package org.peft4j.method.spi.osf;

import java.util.List;
import org.peft4j.nn.seam.StepHook;

/** Keeps each step out of the spaces that stay: before gradients are clipped, as PEFT does. Moments and decay are not projected. */
record OrthogonalGradients(List<Subspace> layers) implements StepHook {
    @Override
    public void beforeClipping() {
        layers.forEach(Subspace::project);
    }
}
