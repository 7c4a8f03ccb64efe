package org.peft4j.run;

import java.util.ArrayList;
import java.util.List;
import org.peft4j.io.yaml.YamlNode;
import org.peft4j.io.yaml.YamlSchema;
import org.peft4j.method.reft.ReftLayers;

/** How run files say the layers of representation fine-tuning. */
final class ReftForms {
    private ReftForms() {}

    static YamlSchema.Builder addTo(YamlSchema.Builder schema) {
        return schema.form(ReftLayers.class, ReftForms::read, ReftLayers::toTree);
    }

    private static ReftLayers read(YamlNode node) {
        if (node instanceof YamlNode.Scalar scalar && scalar.text() != null) {
            return ReftLayers.parse(scalar.text());
        }
        if (node instanceof YamlNode.Sequence list) {
            List<Integer> numbers = new ArrayList<>();
            list.items().forEach(item -> numbers.add(number(item)));
            return ReftLayers.of(numbers);
        }
        throw new IllegalArgumentException("layers must be all, or a list such as [0, 3], received " + node.received());
    }

    private static int number(YamlNode node) {
        try {
            return Integer.parseInt(String.valueOf(node instanceof YamlNode.Scalar scalar ? scalar.text() : null));
        } catch (NumberFormatException e) {
            throw new IllegalArgumentException(
                    "layers must have whole numbers, such as [0, 3], received " + node.received(), e);
        }
    }
}
