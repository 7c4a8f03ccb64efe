package org.peft4j.method;

import org.bytedeco.javacpp.PointerScope;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.peft4j.Fixtures;
import org.peft4j.io.safetensors.TensorData;
import org.peft4j.model.HeadKind;
import org.peft4j.model.HeadOptions;
import org.peft4j.model.HeadedModel;
import org.peft4j.model.ModelOptions;
import org.peft4j.model.Tokens;
import org.peft4j.nn.Tensors;
import org.peft4j.nn.seam.Adapter;
import org.peft4j.nn.seam.ForwardContext;

/** Opens the tiny BERT with a classifier of two classes for each test of a class, and closes it. */
public abstract class WithTinyBert {
    protected final Fixtures.Sentences sentences = Fixtures.tinySentences();
    protected HeadedModel model;

    @BeforeEach
    void openTinyBert() throws Exception {
        model = HeadedModel.open(Fixtures.tinyBert(), ModelOptions.defaults(), HeadKind.SEQUENCE, HeadOptions.of(2));
    }

    @AfterEach
    void closeTinyBert() {
        model.close();
    }

    /** What a model says of the sentences, with the same adapters for each. */
    protected float[] logits(HeadedModel of, Adapter... adapters) {
        try (PointerScope scope = new PointerScope();
                ForwardContext context = ForwardContext.inference(sentences.packing(), adapters)) {
            return Tensors.toFloats(of.outputs(Tokens.of(sentences.tokens()), context));
        }
    }

    /** What PEFT computed of an adapter, such as {@code logits}. */
    protected static float[] expected(String adapter, String tensor) {
        TensorData data = Fixtures.read(Fixtures.ADAPTERS.resolve(adapter).resolve("expected.safetensors"))
                .get(tensor);
        return data.toFloats();
    }
}
