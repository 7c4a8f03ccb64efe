package org.peft4j.model.decoder;

import java.util.List;
import org.jspecify.annotations.Nullable;
import org.peft4j.model.ModelInfo;
import org.peft4j.nn.Dropout;
import org.peft4j.nn.RotaryFrequencies;
import org.peft4j.ops.Ops;

/**
 * What a decoder computes, as its family reads it from config.json.
 *
 * @param stack the sizes of its blocks
 * @param layers what differs from block to block
 */
record DecoderConfig(
        ModelInfo.Stack stack, Vocabulary vocabulary, Norm norm, Residual residual, List<Layer> layers, Heads heads) {

    /**
     * Tokens and positions.
     *
     * @param size rows of the table of words
     * @param positions {@code max_position_embeddings}
     * @param tied whether the table of words is the language model's head
     * @param scale of the words' rows
     * @param dropout of what goes into the first block
     */
    record Vocabulary(int size, int positions, boolean tied, double scale, double dropout) {}

    /** All norms of the hidden states; offset: 1 where files hold weight - 1. */
    record Norm(Kind kind, double eps, double offset) {
        enum Kind {
            RMS,
            LAYER
        }

        static Norm rms(double eps) {
            return new Norm(Kind.RMS, eps, 0);
        }
    }

    /**
     * How sublayers join the residual stream.
     *
     * @param parallel whether attention and MLP read the same rows and are added together
     * @param scale of what is added
     * @param dropout of what is added, while training
     */
    record Residual(boolean parallel, double scale, double dropout) {
        static final Residual PLAIN = new Residual(false, 1, 0);
    }

    record Layer(Attention attention, Mlp mlp) {}

    /**
     * Attention of a block.
     *
     * @param rotary null: none
     * @param window rows that a row sees; 0: all before it
     * @param softcap of the scores; 0: none
     * @param dropout of the probabilities
     * @param projections how queries, keys and values are made
     */
    record Attention(
            @Nullable RotaryFrequencies rotary,
            double scale,
            long window,
            double softcap,
            double dropout,
            Projections projections) {
        Attention withRotary(@Nullable RotaryFrequencies value) {
            return new Attention(value, scale, window, softcap, dropout, projections);
        }

        Attention withScale(double value) {
            return new Attention(rotary, value, window, softcap, dropout, projections);
        }

        Attention withWindow(long value) {
            return new Attention(rotary, scale, value, softcap, dropout, projections);
        }

        Attention withSoftcap(double value) {
            return new Attention(rotary, scale, window, value, dropout, projections);
        }

        Attention withoutDropout() {
            return new Attention(rotary, scale, window, softcap, 0, projections);
        }
    }

    /**
     * Linear layers of attention.
     *
     * @param bias of queries, keys and values
     * @param outputBias of the output
     * @param headwise whether one layer gives query, key and value of a head side by side
     * @param norm of queries and keys
     */
    record Projections(boolean bias, boolean outputBias, boolean headwise, QueryKeyNorm norm) {
        static Projections plain(boolean bias, boolean outputBias) {
            return new Projections(bias, outputBias, false, QueryKeyNorm.NONE);
        }
    }

    /** What is normed of queries and keys before they are turned. */
    enum QueryKeyNorm {
        NONE,
        /** Each head by itself, with one weight for all. */
        HEAD,
        /** All heads of a row as one. */
        ROW
    }

    /**
     * @param size inner width, of one expert where there are experts
     * @param gated {@code down(act(gate x) · up x)}, else {@code down(act(in x))}
     * @param experts null: one MLP for all rows
     */
    record Mlp(
            long size,
            Ops.Activation activation,
            boolean gated,
            boolean bias,
            @Nullable Experts experts) {}

    /**
     * MLPs among which a router chooses for each row.
     *
     * @param count how many there are
     * @param chosen how many compute a row
     * @param normalised whether the chosen ones' shares are made to sum to 1
     */
    record Experts(int count, int chosen, boolean normalised) {}

    /**
     * What heads read.
     *
     * @param softcap of a language model's logits; 0: none
     * @param scale of a language model's logits
     * @param tokens of the class for token classification
     * @param padding the token that is none of a text's; null: there is none
     */
    record Heads(
            double softcap,
            double scale,
            Tokens tokens,
            double initializerRange,
            @Nullable Integer padding) {}

    record Tokens(double dropout, boolean bias) {}

    /** The same with layers in another order: what differs from layer to layer goes along. */
    DecoderConfig withLayers(List<Integer> order) {
        ModelInfo.Stack of = stack;
        return new DecoderConfig(
                new ModelInfo.Stack(of.hiddenSize(), order.size(), of.queryHeads(), of.keyValueHeads(), of.headSize()),
                vocabulary,
                norm,
                residual,
                order.stream().map(layers::get).toList(),
                heads);
    }

    /** For training: refuses dropout that would not be what it says. */
    DecoderConfig withDropout() {
        String how = " of the model's config.json (model.dropout: 0 trains without it)";
        layers.forEach(layer ->
                Dropout.check("the attention's dropout" + how, layer.attention().dropout()));
        Dropout.check("the embedding's dropout" + how, vocabulary.dropout());
        Dropout.check("the sublayers' dropout" + how, residual.dropout());
        Dropout.check("classifier_dropout" + how, heads.tokens().dropout());
        return this;
    }

    DecoderConfig withoutDropout() {
        return new DecoderConfig(
                stack,
                new Vocabulary(vocabulary.size, vocabulary.positions, vocabulary.tied, vocabulary.scale, 0),
                norm,
                new Residual(residual.parallel, residual.scale, 0),
                layers.stream()
                        .map(layer -> new Layer(layer.attention().withoutDropout(), layer.mlp()))
                        .toList(),
                new Heads(
                        heads.softcap,
                        heads.scale,
                        new Tokens(0, heads.tokens.bias),
                        heads.initializerRange,
                        heads.padding));
    }
}
