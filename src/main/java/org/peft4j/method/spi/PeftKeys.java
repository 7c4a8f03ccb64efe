package org.peft4j.method.spi;

import java.util.List;
import org.peft4j.io.ConfigKeys;

/** Names in Hugging Face PEFT's files that are the same for every method. */
public final class PeftKeys {
    /** The release whose keys the tables have. */
    public static final String LIBRARY = "PEFT 0.21";

    /** What PEFT puts before the path of every tensor: the tuner inside PeftModel, and the model inside the tuner. */
    public static final String MODEL = "base_model.model.";

    /** What it puts there where the tuner is PeftModel itself: methods that act on the input alone. */
    public static final String INPUT = "base_model.";

    /** The table of all methods; a method adds its own rows. */
    public static final ConfigKeys COMMON = ConfigKeys.of(LIBRARY)
            .obeyed("peft_type", "modules_to_save")
            .harmless("the base is the directory that the caller gives", "base_model_name_or_path", "revision")
            .harmless("names PEFT's class around the model, not what is computed", "auto_mapping")
            .harmless("says who wrote the file; the keys say what it asks for", "peft_version")
            .harmless("whether PEFT lets it train after loading; the caller decides here", "inference_mode")
            .only(
                    "task_type",
                    List.of("SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"),
                    "PEFT knows no such task")
            .build();

    private PeftKeys() {}
}
