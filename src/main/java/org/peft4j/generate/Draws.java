package org.peft4j.generate;

import java.util.ArrayList;
import java.util.List;
import org.peft4j.nn.seam.Seeds;

/** Answers of which each takes its tokens by itself: the likeliest, or drawn ones. The prompt is read once for all of them. */
final class Draws extends Group {
    private record Answer(int number, Sequence sequence, Sampler sampler) {}

    private final Sequence prompt;
    private List<Answer> answers = List.of();
    private boolean begun;

    Draws(Request request, Cache cache, Cache.Need need) {
        super(request, cache, need);
        prompt = new Sequence(request.prompt(), cache.open(need));
    }

    @Override
    List<Sequence> going() {
        return begun ? answers.stream().map(Answer::sequence).toList() : List.of(prompt);
    }

    @Override
    int width() {
        return begun ? answers.size() : need.width();
    }

    @Override
    void take(List<float[]> logits) {
        List<Answer> on = new ArrayList<>();
        if (begun) {
            for (int i = 0; i < answers.size(); i++) {
                if (goesOn(answers.get(i), logits.get(i))) {
                    on.add(answers.get(i));
                }
            }
        } else {
            begin(logits.get(0), on);
        }
        answers = on;
        begun = true;
    }

    private void begin(float[] logits, List<Answer> on) {
        List<Answer> all = new ArrayList<>();
        for (int n = 0; n < need.width(); n++) {
            Sequence own = n == 0 ? prompt : prompt.at(cache.fork(prompt.place()));
            all.add(new Answer(n, own, new Sampler(request.settings().sampling(), seed(n))));
        }
        for (Answer answer : all) {
            if (goesOn(answer, all.size() == 1 ? logits : logits.clone())) {
                on.add(answer);
            }
        }
    }

    private long seed(int answer) {
        long first =
                Generator.seed(request.settings().sampling(), request.prompt().number());
        return answer == 0 ? first : Seeds.mix(first, "answer " + answer);
    }

    /** Chooses a token; if it is the last one, the answer is given. */
    private boolean goesOn(Answer answer, float[] logits) {
        Sequence sequence = answer.sequence();
        Sampling sampling = request.settings().sampling();
        boolean wanted = request.settings().logProbs();
        boolean changed = !sampling.penalties().none();
        double sum = wanted ? Logits.logSumExp(logits) : 0;
        float[] scores = wanted && changed ? logits.clone() : logits;
        if (changed) {
            sampling.penalties().apply(scores, request.prompt().ids(), sequence.fresh());
        }
        int token = answer.sampler().next(scores);
        boolean end = request.ends(token);
        if (!end) {
            sequence.add(token, wanted ? logits[token] - sum : 0);
            request.listener().token(answer.number(), token);
        }
        Generated.Reason reason = end
                ? Generated.Reason.END_TOKEN
                : sequence.length() < request.room()
                                && request.settings().stop().isEmpty()
                        ? null
                        : request.reason(sequence.fresh(), false);
        if (reason == null) {
            return true;
        }
        request.answer(answer.number(), sequence.fresh(), sequence.logProbs(), reason);
        free(sequence);
        narrow(1);
        return false;
    }
}
