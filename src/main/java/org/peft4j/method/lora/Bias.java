package org.peft4j.method.lora;

/** Which biases of the base model LoRA trains. With other than NONE, disabling the adapter does not restore the base. */
public enum Bias {
    /** None: the base model stays as it is. */
    NONE,
    /** Every tensor whose name ends with {@code .bias}. */
    ALL,
    /** The biases of the adapted layers. */
    LORA_ONLY
}
