package org.peft4j.method.poly;

import java.util.List;
import org.peft4j.method.LinearMethodConfig;
import org.peft4j.method.TargetLayers;

/**
 * Settings of Poly: {@code y = W x + (1 / r) B_t A_t x} for a row of task t, where A_t and B_t are means of the layer's skills, weighted
 * by trained numbers of the task:
 *
 * <pre>
 * a   = σ(Z_t), each divided by their sum      while training drawn from a relaxed Bernoulli distribution of temperature 1
 * A_t = Σ_s a_s A_s,  B_t = Σ_s a_s B_s        for each of the splits by itself, whose inputs and outputs stand side by side
 * </pre>
 *
 * Each row says its task (a task's {@code task_id}) unless there is one task.
 *
 * @param r rank of a skill
 * @param skills how many tasks and skills there are
 * @param initWeights whether B begins with zeros, so that a new adapter changes nothing; else it begins at random as A does
 * @param layers which layers are adapted
 * @param modulesToSave modules that are trained and saved as a whole, such as a new head
 * @see <a href="https://arxiv.org/abs/2202.13914">Combining Modular Skills in Multitask Learning</a>
 * @see <a href="https://arxiv.org/abs/2211.03831">Multi-Head Adapter Routing for Cross-Task Generalization: splits</a>
 */
public record PolyConfig(int r, Skills skills, boolean initWeights, TargetLayers layers, List<String> modulesToSave)
        implements LinearMethodConfig {
    public PolyConfig {
        if (r < 1) {
            throw new IllegalArgumentException("r must be at least 1, got " + r);
        }
        modulesToSave = modulesToSave.stream().distinct().sorted().toList();
    }

    /** PEFT's defaults: r 8, one task, four skills in one split, the model's usual targets. */
    public static PolyConfig defaults() {
        return new PolyConfig(8, Skills.of(1, 4), true, TargetLayers.modelDefault(), List.of());
    }

    /** The same settings with another rank. */
    public PolyConfig withR(int value) {
        return new PolyConfig(value, skills, initWeights, layers, modulesToSave);
    }

    /** The same settings with other tasks and skills. */
    public PolyConfig withSkills(Skills value) {
        return new PolyConfig(r, value, initWeights, layers, modulesToSave);
    }

    /** The same settings with B from zeros, or at random. */
    public PolyConfig withInitWeights(boolean value) {
        return new PolyConfig(r, skills, value, layers, modulesToSave);
    }

    @Override
    public PolyConfig withLayers(TargetLayers value) {
        return new PolyConfig(r, skills, initWeights, value, modulesToSave);
    }

    @Override
    public PolyConfig withModulesToSave(List<String> modules) {
        return new PolyConfig(r, skills, initWeights, layers, modules);
    }
}
