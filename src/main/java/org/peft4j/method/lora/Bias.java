package org.peft4j.method.lora;

/**
 * Which biases LoRA trains: the adapter has its own in the place of the base model's, which stay as they are. So without the
 * adapter the base is what it was; PEFT, which changes them in place, has a changed base then.
 */
public enum Bias {
    /** None: the base model stays as it is. */
    NONE,
    /** Every tensor whose name ends with {@code .bias}. */
    ALL,
    /** The biases of the adapted layers. */
    LORA_ONLY
}
