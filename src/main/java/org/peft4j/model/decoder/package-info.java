/**
 * Language models that are decoders: one {@link org.peft4j.model.decoder.DecoderModel} that its
 * {@link org.peft4j.model.decoder.DecoderConfig} describes, and for each {@code model_type} a small class that reads config.json and names
 * tensors. As transformers' classes of these names, with the classes with a head behind them.
 */
@NullMarked
package org.peft4j.model.decoder;

import org.jspecify.annotations.NullMarked;
