package org.peft4j.method.poly;

import java.util.Objects;

/**
 * The low-rank updates of which each task has its own mixture.
 *
 * @param polyType how tasks choose among them
 * @param nTasks number of tasks that rows are of
 * @param nSkills number of updates in each layer
 * @param nSplits number of parts of a layer's inputs and outputs that are mixed by themselves (multi-head routing); it has to divide
 *     both
 */
public record Skills(PolyType polyType, int nTasks, int nSkills, int nSplits) {
    public Skills {
        Objects.requireNonNull(polyType, "polyType");
        atLeastOne("nTasks", nTasks);
        atLeastOne("nSkills", nSkills);
        atLeastOne("nSplits", nSplits);
    }

    private static void atLeastOne(String name, int value) {
        if (value < 1) {
            throw new IllegalArgumentException(name + " must be at least 1, got " + value);
        }
    }

    /** So many tasks and skills, whose inputs and outputs are mixed as a whole. */
    public static Skills of(int nTasks, int nSkills) {
        return new Skills(PolyType.POLY, nTasks, nSkills, 1);
    }

    /** The same with inputs and outputs in so many parts. */
    public Skills withSplits(int value) {
        return new Skills(polyType, nTasks, nSkills, value);
    }
}
