package org.peft4j.method;

/**
 * Random matrices that a method shares between layers and does not train, as Hugging Face PEFT has them.
 *
 * @param projectionPrngKey seed of the matrices, which PEFT draws by the same generator
 * @param saveProjection whether the file has them; without them it is small, and a reader draws them again
 */
public record Projection(long projectionPrngKey, boolean saveProjection) {
    /** PEFT's defaults: seed 0, saved. */
    public static Projection defaults() {
        return new Projection(0, true);
    }
}
