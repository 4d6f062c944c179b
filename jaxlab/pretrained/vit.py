"""Published ViTs: those of transformers, such as google/vit-base-patch16-224 and facebook/deit-small-patch16-224.

Their blocks have tables of their own, so the model is made with scan=False.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from jaxlab.errors import UserError
from jaxlab.models.vit import ViT, make
from jaxlab.pretrained import Exported, Family, Row, preprocessor
from jaxlab.pretrained.resnet import labels_of

STRUCTURE = ('layers', 'width', 'heads', 'mlp_width', 'patch', 'pool', 'activation', 'representation', 'classes')
ACTIVATIONS = {'gelu': 'gelu_exact', 'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu'}  # theirs and ours
LAYER, OURS = 'vit.encoder.layer.{layer}', 'params/stack/layer_{layer}'


def _linear(theirs: str, ours: str) -> tuple[Row, Row]:
    return Row(f'{theirs}.weight', f'{ours}/kernel', 'linear'), Row(f'{theirs}.bias', f'{ours}/bias')


def _norm(theirs: str, ours: str) -> tuple[Row, Row]:
    return Row(f'{theirs}.weight', f'{ours}/scale'), Row(f'{theirs}.bias', f'{ours}/bias')


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of our `make` for a config.json of transformers' ViT.

    Raises:
      UserError: it describes a network that ours is not.
    """
    for key, default, wanted in (('model_type', 'vit', 'vit'), ('qkv_bias', True, True)):
        if (value := config.get(key, default)) != wanted:
            raise UserError(
                'config.json: {key}={value}, and our ViT has {wanted}.', key=key, value=value, wanted=wanted
            )
    if (act := config.get('hidden_act', 'gelu')) not in ACTIVATIONS:
        raise UserError(
            'config.json: {key}={value}, and our ViT has {wanted}.',
            key='hidden_act',
            value=act,
            wanted=', '.join(ACTIVATIONS),
        )
    return {
        'layers': config.get('num_hidden_layers', 12),
        'width': config.get('hidden_size', 768),
        'heads': config.get('num_attention_heads', 12),
        'mlp_width': config.get('intermediate_size', 3072),
        'patch': config.get('patch_size', 16),
        'classes': len(labels_of(config)) or config.get('num_labels', 2),
        'activation': ACTIVATIONS[act],
        'norm_epsilon': config.get('layer_norm_eps', 1e-12),
        'dropout': config.get('hidden_dropout_prob', 0.0),
    }


def config_of(model: ViT, size: int, labels: Sequence[str] = (), channels: int = 3) -> dict[str, Any]:
    """Returns the config.json by which transformers makes this model.

    Args:
      model: ours, with a token and without a representation.
      size: height and width of the pictures that it has positions for.
      labels: the names of its classes; by default LABEL_0, LABEL_1, …
      channels: of the pictures.

    Raises:
      UserError: transformers has no such network.
    """
    for field, wanted in (('pool', 'token'), ('representation', 0), ('scan', False)):
        if getattr(model, field) != wanted:
            raise UserError(
                '{field}={value}: the ViT of transformers has {wanted}, and no other.',
                field=field,
                value=getattr(model, field),
                wanted=wanted,
            )
    names = list(labels) or [f'LABEL_{i}' for i in range(model.classes)]
    assert len(names) == model.classes, f'{len(names)} labels for {model.classes} classes'
    return {
        'architectures': ['ViTForImageClassification'],
        'model_type': 'vit',
        'image_size': size,
        'num_channels': channels,
        'patch_size': model.patch,
        'num_hidden_layers': model.layers,
        'hidden_size': model.width,
        'num_attention_heads': model.heads,
        'intermediate_size': model.mlp_width,
        'hidden_act': 'gelu' if model.activation == 'gelu_exact' else 'gelu_new',
        'layer_norm_eps': model.norm_epsilon,
        'hidden_dropout_prob': model.dropout,
        'attention_probs_dropout_prob': 0.0,
        'qkv_bias': True,
        'id2label': dict(enumerate(names)),
        'label2id': {name: i for i, name in enumerate(names)},
    }


TRANSFORMERS = Family(
    rows=(
        Row('vit.embeddings.patch_embeddings.projection.weight', 'params/patch_embedding/kernel', 'conv'),
        Row('vit.embeddings.patch_embeddings.projection.bias', 'params/patch_embedding/bias'),
        Row('vit.embeddings.cls_token', 'params/token', 'first'),
        Row('vit.embeddings.position_embeddings', 'params/positions', 'first'),
        *_norm(f'{LAYER}.layernorm_before', f'{OURS}/attention_norm'),
        *_linear(f'{LAYER}.attention.attention.query', f'{OURS}/attention/query'),
        *_linear(f'{LAYER}.attention.attention.key', f'{OURS}/attention/key'),
        *_linear(f'{LAYER}.attention.attention.value', f'{OURS}/attention/value'),
        *_linear(f'{LAYER}.attention.output.dense', f'{OURS}/attention/out'),
        *_norm(f'{LAYER}.layernorm_after', f'{OURS}/mlp_norm'),
        *_linear(f'{LAYER}.intermediate.dense', f'{OURS}/mlp/up'),
        *_linear(f'{LAYER}.output.dense', f'{OURS}/mlp/down'),
        *_norm('vit.layernorm', 'params/final_norm'),
        *_linear('classifier', 'params/head'),
    ),
    ignored=(r'vit\.pooler\..*', r'vit\.embeddings\.mask_token'),
    make=make,
    arguments_of=arguments_of,
    structure=STRUCTURE,
)


def exported(model: ViT, processor: Any) -> Exported:
    """Returns what an export of this model is; `processor` is that of its pictures."""
    config = config_of(model, processor.height, processor.labels, processor.channels)
    return Exported(TRANSFORMERS, config, preprocessor.write(processor))


def family_of(names: Mapping[str, Any]) -> Family:
    """Returns the family whose names these are: of tensors, as `find` gives them."""
    return TRANSFORMERS
