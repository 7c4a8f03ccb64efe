package org.peft4j.generate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;

/**
 * A {@link BeamSearch} for a request. Of all continuations of all beams by one token the likeliest ones are looked at, so many that
 * enough of them go on even if every end token is among them: those that end and are among the best {@code beams} become
 * finished ones, the best that go on are the next beams. As transformers 5 does it
 * (https://github.com/huggingface/transformers/blob/v5.0.0/src/transformers/generation/utils.py, {@code _beam_search}).
 */
final class Beams extends Group {
    private record Beam(Sequence sequence, double score) {}

    /** @param score the sum of log-probabilities over length^penalty */
    @SuppressWarnings("ArrayRecordComponent") // made and read here
    private record Finished(int[] ids, double[] logProbs, double score, Generated.Reason reason) {}

    /**
     * A beam with one token more.
     *
     * @param parent number of the beam
     * @param logProb of the token, as the model gave it
     */
    private record Candidate(int parent, int token, double score, double logProb) {}

    private final BeamSearch search;
    private final int looked; // candidates of a step
    private List<Beam> beams;
    private List<Finished> finished = List.of();
    private int length;

    Beams(Request request, Cache cache, Cache.Need need) {
        super(request, cache, need);
        search = Objects.requireNonNull(request.settings().answers().search());
        looked = Math.max(2, 1 + request.settings().endTokens().size()) * search.beams();
        beams = List.of(new Beam(new Sequence(request.prompt(), cache.open(need)), 0));
    }

    /** Candidates of a step, which the vocabulary has to have. */
    static int looked(GenerationSettings settings) {
        BeamSearch search = settings.answers().search();
        return search == null ? 1 : Math.max(2, 1 + settings.endTokens().size()) * search.beams();
    }

    @Override
    List<Sequence> going() {
        return beams.stream().map(Beam::sequence).toList();
    }

    @Override
    int width() {
        return beams.isEmpty() ? 0 : need.width();
    }

    @Override
    void take(List<float[]> logits) {
        List<Candidate> best = best(logits);
        length++;
        List<Candidate> on = new ArrayList<>();
        List<Finished> ended = new ArrayList<>(finished);
        for (int i = 0; i < best.size(); i++) {
            Candidate candidate = best.get(i);
            Sequence parent = beams.get(candidate.parent()).sequence();
            boolean end = request.ends(candidate.token());
            int[] ids = end ? parent.fresh() : and(parent.fresh(), candidate.token());
            Generated.Reason reason = request.reason(ids, end);
            if (reason == null) {
                on.add(candidate);
            } else if (i < search.beams()) {
                ended.add(new Finished(
                        ids, and(parent.logProbs(), candidate.logProb()), over(candidate.score(), length), reason));
            }
        }
        // Stable: of equal ones the earlier.
        ended.sort(Comparator.comparingDouble(Finished::score).reversed());
        finished = List.copyOf(ended.subList(0, Math.min(ended.size(), search.beams())));
        List<Candidate> next = on.subList(0, Math.min(on.size(), search.beams()));
        if (next.isEmpty() || enough(next.get(0).score())) {
            end();
        } else {
            goOn(next);
        }
    }

    private double over(double score, int tokens) {
        return score / Math.pow(tokens, search.lengthPenalty());
    }

    /** @param likeliest score of the best one that goes on */
    private boolean enough(double likeliest) {
        if (finished.size() < search.beams()) {
            return false;
        }
        if (search.earlyStopping() == BeamSearch.EarlyStopping.YES) {
            return true;
        }
        boolean ever = search.earlyStopping() == BeamSearch.EarlyStopping.NEVER && search.lengthPenalty() > 0;
        double possible = over(likeliest, ever ? request.room() : length);
        return possible <= finished.get(finished.size() - 1).score();
    }

    /** The likeliest continuations of all beams by a token, the likeliest first. */
    private List<Candidate> best(List<float[]> logits) {
        double[] scores = new double[looked];
        int[] parents = new int[looked];
        int[] tokens = new int[looked];
        double[] sums = new double[logits.size()];
        List<float[]> raw = new ArrayList<>();
        Penalties penalties = request.settings().sampling().penalties();
        int n = 0;
        for (int b = 0; b < logits.size(); b++) {
            float[] own = logits.get(b);
            raw.add(request.settings().logProbs() ? own.clone() : own);
            sums[b] = Logits.logSumExp(own);
            Logits.logSoftmax(own);
            penalties.apply(own, request.prompt().ids(), beams.get(b).sequence().fresh());
            double before = beams.get(b).score();
            for (int token = 0; token < own.length; token++) {
                double score = before + own[token];
                if (n == looked && score <= scores[n - 1]) {
                    continue;
                }
                int at = n < looked ? n++ : n - 1;
                for (; at > 0 && scores[at - 1] < score; at--) {
                    scores[at] = scores[at - 1];
                    parents[at] = parents[at - 1];
                    tokens[at] = tokens[at - 1];
                }
                scores[at] = score;
                parents[at] = b;
                tokens[at] = token;
            }
        }
        List<Candidate> best = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            double logProb = request.settings().logProbs() ? raw.get(parents[i])[tokens[i]] - sums[parents[i]] : 0;
            best.add(new Candidate(parents[i], tokens[i], scores[i], logProb));
        }
        return best;
    }

    /** Those without a child make room first; a first child has its parent's rows, others get copies. */
    private void goOn(List<Candidate> next) {
        Set<Integer> parents = new HashSet<>();
        next.forEach(candidate -> parents.add(candidate.parent()));
        for (int b = 0; b < beams.size(); b++) {
            if (!parents.contains(b)) {
                free(beams.get(b).sequence());
            }
        }
        List<Beam> made = new ArrayList<>();
        for (Candidate candidate : next) {
            Cache.Place place = beams.get(candidate.parent()).sequence().place();
            boolean first = parents.remove(candidate.parent());
            Sequence child = beams.get(candidate.parent()).sequence().at(first ? place : cache.fork(place));
            child.add(candidate.token(), candidate.logProb());
            made.add(new Beam(child, candidate.score()));
        }
        beams = List.copyOf(made);
    }

    private void end() {
        beams.forEach(beam -> free(beam.sequence()));
        beams = List.of();
        for (int i = 0; i < request.settings().answers().n(); i++) {
            Finished answer = finished.get(i);
            for (int id : answer.ids()) {
                request.listener().token(i, id);
            }
            request.answer(i, answer.ids(), answer.logProbs(), answer.reason());
        }
    }

    private static int[] and(int[] ids, int token) {
        int[] more = Arrays.copyOf(ids, ids.length + 1);
        more[ids.length] = token;
        return more;
    }

    private static double[] and(double[] values, double value) {
        double[] more = Arrays.copyOf(values, values.length + 1);
        more[values.length] = value;
        return more;
    }
}
