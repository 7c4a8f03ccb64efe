package org.peft4j.ops;

import java.util.concurrent.atomic.AtomicBoolean;
import org.bytedeco.pytorch.global.torch;
import org.peft4j.error.ConfigException;

/**
 * Whether products of float32 on cards may round their operands to TF32. CUDA's libraries have one switch for the whole process, so
 * that models which want it and models which do not cannot be open at once. Safe from many threads.
 */
public final class Tf32 implements AutoCloseable {
    private static int holders;
    private static boolean allowed;

    private final AtomicBoolean closed = new AtomicBoolean();

    private Tf32() {}

    /**
     * From now on, until it is closed, products are as wanted.
     *
     * @throws ConfigException if another holder wants the other
     */
    public static synchronized Tf32 hold(boolean wanted) {
        if (holders > 0 && allowed != wanted) {
            throw new ConfigException(
                    "a model of dtype " + (wanted ? "tf32" : "float32") + " cannot be opened on a card while one of "
                            + (wanted ? "float32" : "tf32")
                            + " is open: CUDA's libraries have one switch for the whole process; close the other,"
                            + " or give both the same dtype");
        }
        torch.globalContext().setAllowTF32CuBLAS(wanted);
        allowed = wanted;
        holders++;
        return new Tf32();
    }

    private static synchronized void release() {
        holders--;
        if (holders == 0) {
            torch.globalContext().setAllowTF32CuBLAS(false);
        }
    }

    @Override
    public void close() {
        if (closed.compareAndSet(false, true)) {
            release();
        }
    }
}
