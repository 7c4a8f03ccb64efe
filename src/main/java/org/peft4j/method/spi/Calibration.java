package org.peft4j.method.spi;

import java.util.List;
import org.peft4j.method.MethodConfig;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Packing;

/**
 * A method that looks at the frozen model while rows of the run's data go through it, and makes its first values of what it sees. For
 * one thread and one attachment:
 *
 * <pre>
 * for each batch, until {@link #enough} or {@link #rows} of them are seen:
 *     {@link #before}; a forward with {@link #observer} (and a backward of the batch's mean loss if {@link #needsGradient})
 * {@link #attach}
 * </pre>
 *
 * @param <C> the method's settings
 */
public interface Calibration<C extends MethodConfig> extends AutoCloseable {
    /**
     * What watches. It changes nothing of what is computed. Where no gradient is needed all rows have to go through every block.
     */
    Adapter observer();

    /** The settings with a start without data: their adapter differs in its values alone, and what does not go with it shows at once. */
    C withoutData();

    /** The most rows of the data that it looks at. */
    int rows();

    /** Whether the loss has to go back, as in training; else a forward without training is seen. */
    boolean needsGradient();

    /** Bytes that what is seen takes on the model's device, at most. */
    long bytes();

    /** Whether it needs to see no more. */
    boolean enough();

    /**
     * To be called before each batch.
     *
     * @param rows how the batch's rows lie
     * @param told which of them are tokens that are learnt
     */
    void before(Packing rows, boolean[] told);

    /**
     * The adapter that begins with what was seen.
     *
     * @throws IllegalArgumentException if what was seen is not enough, or not finite
     */
    Started<C> attach(String name);

    /**
     * What began.
     *
     * @param config its settings, which may have changed with the data
     * @param notes what a user should know of it
     */
    record Started<C extends MethodConfig>(Adapter adapter, C config, List<String> notes) {
        public Started {
            notes = List.copyOf(notes);
        }
    }

    @Override
    void close();
}
