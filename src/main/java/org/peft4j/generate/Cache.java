package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Scopes;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.KeyValueCache;
import org.peft4j.nn.seam.Packing;
import org.peft4j.ops.Device;

/**
 * Keys and values in blocks of {@value #BLOCK} rows, of which there is a limited number. A sequence has a list of blocks, the rows
 * of its prefix first, and takes one more when it grows into it. Full blocks are shared: those of a prefix by all sequences that
 * have it, those of a text by what was {@link #fork forked} from it.
 *
 * <p>A call goes between {@link #begin} and {@link #end}, in one scope of native handles. Belongs to one thread.
 */
final class Cache implements KeyValueCache, AutoCloseable {
    static final int BLOCK = 16;

    /**
     * What a group of sequences with one beginning needs.
     *
     * @param prefix rows that their adapter puts before them
     * @param owner of the prefix: sequences with one owner have the same
     * @param begun rows behind the prefix that they have in common: inserted ones and the prompt's
     * @param rows the most rows of each behind the prefix
     * @param width the most sequences at once
     */
    record Need(int prefix, @Nullable Object owner, long begun, long rows, int width) {
        /** Blocks that the prefix fills. */
        int ofPrefix() {
            return owner == null ? 0 : prefix / BLOCK;
        }

        /** Blocks of the beginning that all of them share. */
        long shared() {
            return width == 1 ? 0 : (prefix + begun) / BLOCK - ofPrefix();
        }

        /** Blocks of each one alone. */
        long each() {
            return (prefix + rows + BLOCK - 1) / BLOCK - ofPrefix() - shared();
        }

        /** All but those of the prefix. */
        long own() {
            return shared() + width * each();
        }
    }

    /** A sequence: its blocks in order. */
    static final class Place {
        private final int prefix;
        private int[] blocks;
        private int taken;
        private int length;

        private Place(int prefix, int[] blocks, int taken) {
            this.prefix = prefix;
            this.blocks = blocks;
            this.taken = taken;
        }

        /** Whether its rows are here. */
        boolean filled() {
            return length > 0;
        }

        private void add(int block) {
            if (taken == blocks.length) {
                blocks = Arrays.copyOf(blocks, Math.max(4, 2 * taken));
            }
            blocks[taken++] = block;
        }

        private long slot(int row) {
            return (long) blocks[row / BLOCK] * BLOCK + row % BLOCK;
        }
    }

    private static final class Prefix {
        private final int[] blocks;
        private int users;

        Prefix(int[] blocks) {
            this.blocks = blocks;
        }
    }

    private final Device device;
    private final Blocks blocks;
    private final Pools pools;
    private final Map<Object, Prefix> prefixes = new IdentityHashMap<>();
    private final List<int[]> copies = new ArrayList<>(); // from, to

    // Of the call.
    private List<Place> order = List.of();
    private boolean filled;
    private @Nullable Packing packing;
    private @Nullable Packing all;
    private @Nullable Tensor slots;
    private @Nullable Tensor table;

    /**
     * @param stack the model's sizes
     * @param type of keys and values
     * @param device of the model
     * @param most blocks there may be
     */
    Cache(ModelInfo.Stack stack, ScalarType type, Device device, long most) {
        this.device = device;
        blocks = new Blocks(most);
        pools = new Pools(stack, type, device);
    }

    Blocks blocks() {
        return blocks;
    }

    /** Whether there is room for a group besides those that were let in. */
    boolean fits(Need need) {
        Prefix known = need.owner() == null ? null : prefixes.get(need.owner());
        return blocks.fits(need.own() + (known == null ? need.ofPrefix() : 0));
    }

    /** Lets a group in: it gets all the blocks that it may come to need. */
    void enter(Need need) {
        blocks.promise(need.own());
        Object owner = need.owner();
        if (owner != null && need.ofPrefix() > 0) {
            prefixes.computeIfAbsent(owner, key -> {
                        blocks.promise(need.ofPrefix());
                        int[] taken = new int[need.ofPrefix()];
                        Arrays.setAll(taken, i -> blocks.take());
                        return new Prefix(taken);
                    })
                    .users++;
        }
    }

    /**
     * A group leaves whose places are all closed.
     *
     * @param owned blocks that it has not given back yet, those of the prefix not counted
     */
    void leave(Need need, long owned) {
        blocks.giveBack(owned);
        Object owner = need.owner();
        Prefix prefix = owner == null ? null : prefixes.get(owner);
        if (prefix != null && --prefix.users == 0) {
            for (int block : prefix.blocks) {
                blocks.leave(block);
            }
            blocks.giveBack(prefix.blocks.length);
            prefixes.remove(owner);
        }
    }

    /** The first sequence of a group. */
    Place open(Need need) {
        Prefix prefix = need.owner() == null ? null : prefixes.get(need.owner());
        int[] first = prefix == null ? new int[0] : prefix.blocks.clone();
        for (int block : first) {
            blocks.share(block);
        }
        return new Place(need.prefix(), first, first.length);
    }

    /** Another sequence with the same rows: full blocks are shared, the last one is copied before the next call. */
    Place fork(Place of) {
        int rows = of.prefix + of.length;
        int full = rows / BLOCK;
        Place made = new Place(of.prefix, Arrays.copyOf(of.blocks, full + 4), full);
        for (int i = 0; i < full; i++) {
            blocks.share(made.blocks[i]);
        }
        made.length = of.length;
        if (rows % BLOCK > 0) {
            int from = of.blocks[full];
            if (copies.stream().anyMatch(copy -> copy[1] == from)) {
                copy();
            }
            int to = blocks.take();
            copies.add(new int[] {from, to});
            made.add(to);
        }
        return made;
    }

    void close(Place place) {
        for (int i = 0; i < place.taken; i++) {
            int block = place.blocks[i];
            if (blocks.leave(block)) {
                copies.removeIf(copy -> copy[1] == block); // nobody wants it any more
            }
        }
        place.taken = 0;
        place.length = 0;
    }

    private void copy() {
        if (!copies.isEmpty()) {
            pools.grow(blocks.made(), blocks.most());
            pools.copy(
                    copies.stream().mapToInt(copy -> copy[0]).toArray(),
                    copies.stream().mapToInt(copy -> copy[1]).toArray());
            copies.clear();
        }
    }

    /**
     * Says which places the next call is of.
     *
     * @param of places of the context's sequences, in its order
     * @param continuing whether the call's rows come behind earlier ones; else they take their place
     */
    void choose(List<Place> of, boolean continuing) {
        order = of;
        filled = continuing;
        if (!continuing) {
            // Blocks that are shared get the numbers that they have: what is shared has the same tokens.
            of.forEach(place -> place.length = 0);
        }
    }

    /**
     * Begins the call.
     *
     * @param rows how many rows each of its sequences has in it
     */
    void begin(Packing rows) {
        copy();
        packing = rows;
        int n = order.size();
        int[] counts = new int[n];
        int longest = 0;
        long[] written = new long[Math.toIntExact(rows.rows())];
        int at = 0;
        for (int s = 0; s < n; s++) {
            Place place = order.get(s);
            int before = place.prefix + place.length;
            counts[s] = before + rows.length(s);
            int wanted = (counts[s] + BLOCK - 1) / BLOCK;
            while (place.taken < wanted) {
                place.add(blocks.take());
            }
            longest = Math.max(longest, wanted);
            for (int i = 0; i < rows.length(s); i++) {
                written[at++] = place.slot(before + i);
            }
        }
        pools.grow(blocks.made(), blocks.most());
        all = Packing.of(counts);
        slots = Tensors.ofLongs(device, written, at);
        int[] numbers = new int[n * longest];
        for (int s = 0; s < n; s++) {
            Place place = order.get(s);
            System.arraycopy(place.blocks, 0, numbers, s * longest, Math.min(place.taken, longest));
        }
        table = Tensors.ofInts(device, numbers).to(ScalarType.Int).view(n, longest);
    }

    /** Ends a call: its rows are earlier ones for the next. */
    void end() {
        for (int s = 0; s < order.size(); s++) {
            order.get(s).length += of(packing).length(s);
        }
        packing = null;
        all = null;
        slots = null;
        table = null;
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
        return order.get(sequence).length;
    }

    @Override
    public void write(int layer, Tensor k, Tensor v) {
        write(layer, of(slots), k, v);
    }

    private void write(int layer, Tensor into, Tensor k, Tensor v) {
        Scopes.scoped(() -> Pools.rows(pools.keys(layer)).index_copy_(0, into, k));
        Scopes.scoped(() -> Pools.rows(pools.values(layer)).index_copy_(0, into, v));
    }

    @Override
    public void writePrefix(int layer, int sequence, Tensor k, Tensor v) {
        Place place = order.get(sequence);
        int n = place.prefix;
        if (k.size(0) != n) {
            throw new IllegalStateException("a prefix has " + k.size(0) + " rows, its adapter takes " + n);
        }
        long[] into = new long[n];
        for (int row = 0; row < n; row++) {
            into[row] = place.slot(row); // shared ones each time, with the same numbers
        }
        write(layer, Tensors.ofLongs(device, into, n), k, v);
    }

    @Override
    public Rows read(int layer) {
        return new Rows(pools.keys(layer), pools.values(layer), of(all), of(table));
    }

    @Override
    public void close() {
        pools.close();
    }
}
