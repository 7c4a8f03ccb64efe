package org.peft4j.method.full;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.method.ModelParts;

/**
 * Settings of full tuning: the model's own tensors are trained, all of them or those of some parts. What is often done:
 *
 * <pre>
 * everything                    {@link ModelParts#ALL}
 * embeddings and head alone     {@code ModelParts.of(EMBEDDINGS, HEAD)}
 * the head alone (last layer)   {@code ModelParts.of(HEAD)}
 * the last block alone          {@code ModelParts.layers(-1)}
 * </pre>
 *
 * The second and the last are those of personalised code models (2208.13928). An adapter is as large as what it trains, in float32; the
 * base stays as it is.
 *
 * @param chosen what is trained
 * @param modulesToSave modules that are trained and saved as a whole beside it, such as a new head
 * @see <a href="https://arxiv.org/abs/2208.13928">Exploring and Evaluating Personalized Models for Code Generation</a>
 */
public record FullConfig(ModelParts chosen, List<String> modulesToSave) implements MethodConfig {
    public FullConfig {
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** Everything. */
    public static FullConfig defaults() {
        return of(ModelParts.ALL);
    }

    /** These parts. */
    public static FullConfig of(ModelParts chosen) {
        return new FullConfig(chosen, List.of());
    }

    @Override
    public FullConfig withModulesToSave(List<String> modules) {
        return new FullConfig(chosen, modules);
    }
}
