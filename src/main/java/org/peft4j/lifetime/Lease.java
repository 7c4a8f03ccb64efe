package org.peft4j.lifetime;

import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Keeps what a call uses from being freed under it: calls {@link #take} the lease and give it back, {@link #close} waits
 * until none is out and then frees, and a call that comes later gets an {@link IllegalStateException}. Safe from many
 * threads; a call may take it again while it holds it.
 *
 * <p>A thread that holds the lease itself must not close it: it would wait for itself, so that is refused.
 */
public final class Lease implements AutoCloseable {
    /** One call's hold; closing it gives it back. */
    @FunctionalInterface
    public interface Held extends AutoCloseable {
        @Override
        void close();
    }

    private final String what;
    private final Runnable free;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();
    private final ThreadLocal<Integer> mine = ThreadLocal.withInitial(() -> 0);
    private int out;
    private boolean closing;
    private boolean freed;

    /**
     * @param what the name for messages: {@code "this classifier"}
     * @param free frees it; called once, by the first {@link #close}
     */
    public Lease(String what, Runnable free) {
        this.what = what;
        this.free = free;
    }

    /**
     * Begins a call; to be closed on the same thread.
     *
     * @throws IllegalStateException if it is closed, or another thread is closing it
     */
    public Held take() {
        lock.lock();
        try {
            if (closing && mine.get() == 0) {
                throw new IllegalStateException(what + " is closed");
            }
            out++;
            mine.set(mine.get() + 1);
            return this::giveBack;
        } finally {
            lock.unlock();
        }
    }

    private void giveBack() {
        lock.lock();
        try {
            out--;
            if (mine.get() == 1) {
                mine.remove();
            } else {
                mine.set(mine.get() - 1);
            }
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /**
     * Waits for the calls that hold it and frees; further calls of this do nothing, but return only when it is freed. An
     * interrupt does not end the waiting; the thread's flag is set again behind it.
     *
     * @throws IllegalStateException if this thread holds it
     */
    @Override
    public void close() {
        lock.lock();
        try {
            if (mine.get() > 0) {
                throw new IllegalStateException(what + " cannot be closed by a call that uses it");
            }
            if (closing) {
                while (!freed) {
                    changed.awaitUninterruptibly();
                }
                return;
            }
            closing = true;
            while (out > 0) {
                changed.awaitUninterruptibly();
            }
            try {
                free.run();
            } finally {
                freed = true;
                changed.signalAll();
            }
        } finally {
            lock.unlock();
        }
    }
}
