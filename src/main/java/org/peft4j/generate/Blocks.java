package org.peft4j.generate;

import java.util.Arrays;

/** Numbers of blocks: which are free, and how many sequences have each of the others. */
final class Blocks {
    private final long most;
    private int[] users = new int[0];
    private int[] free = new int[0];
    private int freeCount;
    private int made;
    private long promised;

    /** @param most how many there may be */
    Blocks(long most) {
        this.most = Math.min(most, Integer.MAX_VALUE);
    }

    long most() {
        return most;
    }

    /** Blocks that somebody may still take or has. */
    long promised() {
        return promised;
    }

    /** Blocks that somebody has. */
    int taken() {
        return made - freeCount;
    }

    /** The highest number, and one. */
    int made() {
        return made;
    }

    boolean fits(long count) {
        return count <= most - promised;
    }

    /** Who promises blocks to somebody can count on {@link #take}. */
    void promise(long count) {
        if (!fits(count)) {
            throw new IllegalStateException(count + " blocks are not to be had, " + (most - promised) + " are left");
        }
        promised += count;
    }

    void giveBack(long count) {
        promised -= count;
    }

    int take() {
        int block;
        if (freeCount > 0) {
            block = free[--freeCount];
        } else {
            block = made++;
            if (made > users.length) {
                users = Arrays.copyOf(users, Math.max(16, 2 * users.length));
                free = Arrays.copyOf(free, users.length);
            }
        }
        users[block] = 1;
        return block;
    }

    /** Another one has it, too. */
    void share(int block) {
        users[block]++;
    }

    /** One has it no more; if it was the last, the block is free, and this is true. */
    boolean leave(int block) {
        users[block]--;
        if (users[block] > 0) {
            return false;
        }
        free[freeCount++] = block;
        return true;
    }
}
