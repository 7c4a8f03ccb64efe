package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.host.MachineFacts;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Ops;

/**
 * Keys and values in blocks of {@value #BLOCK} rows. A sequence has a list of blocks, the rows of its prefix first; blocks that a
 * prefix fills are shared by all sequences that have it. The memory is asked for at once and filled as sequences grow.
 *
 * <p>A call goes between {@link #begin} and {@link #end}, in one scope of native handles. Belongs to one thread.
 */
final class Cache implements KeyValueCache, AutoCloseable {
    static final int BLOCK = 16;

    /**
     * A sequence.
     *
     * @param prefix rows that its adapter puts before it
     * @param owner of the prefix: sequences with one owner have the same
     * @param rows the most rows that it can have beside them
     */
    record Place(int prefix, @Nullable Object owner, long rows) {}

    private final ModelInfo.Stack stack;
    private final List<Place> places;
    private final int[][] blocks;
    private final int[] lengths;
    private int total;
    private boolean filled;
    private final Tensor[] keys;
    private final Tensor[] values;

    // Of the call.
    private int[] order = {};
    private @Nullable Packing packing;
    private @Nullable Packing all;
    private @Nullable Tensor slots;
    private @Nullable Tensor table;

    /**
     * @param stack the blocks' sizes
     * @throws ConfigException if there is not so much memory
     */
    Cache(ModelInfo.Stack stack, List<Place> places) {
        this.stack = stack;
        this.places = List.copyOf(places);
        // At least; which type the numbers have is seen when the first come.
        check(places.stream().mapToLong(place -> place.rows() + BLOCK - 1).sum() / BLOCK, Short.BYTES);
        int n = places.size();
        blocks = new int[n][];
        lengths = new int[n];
        keys = new Tensor[stack.layers()];
        values = new Tensor[stack.layers()];
        Map<Object, int[]> shared = new HashMap<>();
        for (int s = 0; s < n; s++) {
            Place place = places.get(s);
            int full = place.owner() == null ? 0 : place.prefix() / BLOCK;
            int[] first =
                    place.owner() == null ? new int[0] : shared.computeIfAbsent(place.owner(), owner -> take(full));
            long rest = (long) place.prefix() - (long) full * BLOCK + place.rows();
            int[] own = take(Math.toIntExact((rest + BLOCK - 1) / BLOCK));
            blocks[s] = Arrays.copyOf(first, first.length + own.length);
            System.arraycopy(own, 0, blocks[s], first.length, own.length);
        }
    }

    private int[] take(int n) {
        int[] taken = new int[n];
        for (int i = 0; i < n; i++) {
            taken[i] = total;
            total = Math.addExact(total, 1);
        }
        return taken;
    }

    /** Blocks there are. */
    int blocks() {
        return total;
    }

    /** Whether the rows of a place are here. */
    boolean has(int place) {
        return lengths[place] > 0;
    }

    /**
     * Says which places the next call is of.
     *
     * @param of places of the context's sequences, in its order
     * @param continuing whether the call's rows come behind earlier ones; else they take their place
     */
    void choose(int[] of, boolean continuing) {
        order = of;
        filled = continuing;
        if (!continuing) {
            for (int place : of) {
                lengths[place] = 0;
            }
        }
    }

    /**
     * Begins the call.
     *
     * @param rows how many rows each of its sequences has in it
     */
    void begin(Packing rows) {
        packing = rows;
        int[] of = order;
        int[] counts = new int[of.length];
        int longest = 0;
        List<Long> written = new ArrayList<>();
        for (int s = 0; s < of.length; s++) {
            int place = of[s];
            int before = places.get(place).prefix() + lengths[place];
            counts[s] = before + rows.length(s);
            longest = Math.max(longest, (counts[s] + BLOCK - 1) / BLOCK);
            for (int i = 0; i < rows.length(s); i++) {
                written.add(slot(place, before + i));
            }
        }
        all = Packing.of(counts);
        slots = tensor(written);
        int[] numbers = new int[of.length * longest];
        for (int s = 0; s < of.length; s++) {
            int[] own = blocks[of[s]];
            System.arraycopy(own, 0, numbers, s * longest, Math.min(own.length, longest));
        }
        table = Tensors.ofInts(numbers).to(ScalarType.Int).view(of.length, longest);
    }

    /** Ends a call: its rows are earlier ones for the next. */
    void end() {
        for (int s = 0; s < order.length; s++) {
            lengths[order[s]] += of(packing).length(s);
        }
        packing = null;
        all = null;
        slots = null;
        table = null;
    }

    private long slot(int place, int row) {
        return (long) blocks[place][row / BLOCK] * BLOCK + row % BLOCK;
    }

    private static Tensor tensor(List<Long> values) {
        long[] array = values.stream().mapToLong(Long::longValue).toArray();
        return Tensors.ofLongs(array, array.length);
    }

    private static <T> T of(@Nullable T ofTheCall) {
        if (ofTheCall == null) {
            throw new IllegalStateException("a cache is used between begin and end of a call");
        }
        return ofTheCall;
    }

    @Override
    public boolean filled() {
        return filled;
    }

    @Override
    public int length(int sequence) {
        return lengths[order[sequence]];
    }

    @Override
    public void write(int layer, Tensor k, Tensor v) {
        if (keys[layer] == null) {
            make(k);
        }
        write(layer, of(slots), k, v);
    }

    private void write(int layer, Tensor into, Tensor k, Tensor v) {
        Scopes.scoped(() -> rows(keys[layer]).index_copy_(0, into, k));
        Scopes.scoped(() -> rows(values[layer]).index_copy_(0, into, v));
    }

    @Override
    public void writePrefix(int layer, int sequence, Tensor k, Tensor v) {
        int place = order[sequence];
        int n = places.get(place).prefix();
        if (k.size(0) != n) {
            throw new IllegalStateException("a prefix has " + k.size(0) + " rows, its adapter takes " + n);
        }
        List<Long> into = new ArrayList<>();
        for (int row = 0; row < n; row++) {
            into.add(slot(place, row)); // shared ones each time, with the same numbers
        }
        write(layer, tensor(into), k, v);
    }

    @Override
    public Rows read(int layer) {
        return new Rows(keys[layer], values[layer], of(all), of(table));
    }

    private static Tensor rows(Tensor pool) {
        return pool.view(-1, pool.size(2), pool.size(3));
    }

    private void make(Tensor like) {
        check(total, like.element_size());
        for (int layer = 0; layer < keys.length; layer++) {
            keys[layer] = pool(like);
            values[layer] = pool(like);
        }
    }

    private void check(long blocksWanted, long elementSize) {
        double row = 2.0 * stack.layers() * stack.keyValueHeads() * stack.headSize() * elementSize;
        double bytes = row * BLOCK * blocksWanted;
        double free = (double) MachineFacts.memoryBytes() - Ops.liveBytes();
        if (bytes > free || blocksWanted > Integer.MAX_VALUE) {
            throw new ConfigException(String.format(
                    Locale.ROOT,
                    "keys and values of %d sequences would take %.1f GiB, the machine has %.1f left beside the model;"
                            + " generate for fewer prompts at once (--batch-size) or fewer tokens (--max-new-tokens)",
                    places.size(),
                    bytes / 0x1p30,
                    Math.max(0, free) / 0x1p30));
        }
    }

    private Tensor pool(Tensor like) {
        long[] shape = {total, BLOCK, like.size(1), like.size(2)};
        return Scopes.owned(() ->
                Ops.checked(() -> torch.empty(shape, Tensors.options(like.scalar_type()), new MemoryFormatOptional())));
    }

    @Override
    public void close() {
        for (int layer = 0; layer < keys.length; layer++) {
            if (keys[layer] != null) {
                keys[layer].close();
                values[layer].close();
            }
        }
    }
}
