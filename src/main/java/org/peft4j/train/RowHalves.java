package org.peft4j.train;

import java.util.Comparator;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import org.peft4j.error.ConfigException;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.Seeds;
import org.peft4j.random.SplitMix64;

/**
 * Which rows train which parameters where some are trained apart ({@link Adapter#secondLevel}): drawn once for a run, by its seed.
 *
 * @param first numbers of the rows of most parameters, in their order; null: all
 * @param second of those that are trained apart; null: there are none
 */
@SuppressWarnings("ArrayRecordComponent") // read, and never changed
record RowHalves(int @Nullable [] first, int @Nullable [] second) {
    /**
     * @param rows how many there are
     * @throws ConfigException if there are too few for both
     */
    static RowHalves of(Adapter.@Nullable SecondLevel level, int rows, long seed) {
        if (level == null) {
            return new RowHalves(null, null);
        }
        int seconds = (int) Math.round(rows * level.share());
        if (seconds < 1 || seconds == rows) {
            throw new ConfigException("the parameters '" + level.group() + "' are trained on a share of "
                    + level.share() + " of the rows, the others on the rest: of " + rows
                    + (rows == 1 ? " row" : " rows") + " none would be left for one of them; give more rows, another"
                    + " share, or train all of it together");
        }
        SplitMix64 random = new SplitMix64(Seeds.mix(seed, "second level"));
        double[] drawn =
                LongStream.range(0, rows).mapToDouble(row -> random.uniform()).toArray();
        int[] order = IntStream.range(0, rows)
                .boxed()
                .sorted(Comparator.comparingDouble(row -> drawn[row]))
                .mapToInt(Integer::intValue)
                .toArray();
        return new RowHalves(
                IntStream.of(order).skip(seconds).sorted().toArray(),
                IntStream.of(order).limit(seconds).sorted().toArray());
    }
}
