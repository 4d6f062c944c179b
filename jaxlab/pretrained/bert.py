"""Published encoders: BERT, RoBERTa and DistilBERT (google-bert/bert-base-uncased, bert-base-chinese,
FacebookAI/roberta-base, distilbert/distilbert-base-uncased and their kin), as transformers has them, with every head of
ours.

Both kinds of our stack hold them: layers of their own (`layer_0`, …) or one stacked block (`scan=True`), and the token
table may be padded to a round size (`vocabulary_multiple`).
"""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jax.numpy as jnp

from jaxlab.errors import UserError
from jaxlab.models.bert import BERT, make
from jaxlab.pretrained import Exported, Family, Row
from jaxlab.pretrained.resnet import labels_of

MODEL_TYPES = ('bert', 'roberta', 'distilbert')
SHAPE = ('layers', 'width', 'heads', 'mlp_width', 'context', 'vocabulary', 'types', 'position_offset')
KIND = ('activation', 'norm_epsilon', 'purpose', 'classes')
ACTIVATIONS = {'gelu': 'gelu_exact', 'gelu_new': 'gelu', 'gelu_pytorch_tanh': 'gelu'}  # theirs and ours
LAYERS = ('params/stack/layer_{layer}', 'params/stack/layers')  # each by itself, and stacked
EMBEDDINGS = 'params/embeddings'
# What their classes end in, for each head of ours; the first is what we export.
ENDINGS = {
    'masked': ('ForMaskedLM', 'ForPreTraining'),
    'classes': ('ForSequenceClassification',),
    'tokens': ('ForTokenClassification',),
    'span': ('ForQuestionAnswering',),
}
NAMES = {'bert': 'Bert', 'roberta': 'Roberta', 'distilbert': 'DistilBert'}


def arguments_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments of our `make` for a config.json of transformers' BERT, RoBERTa or DistilBERT.

    The head is that of the first of its "architectures"; of one that has none, 'masked'.

    Raises:
      UserError: it describes a network that ours is not.
    """
    _is(config, 'model_type', MODEL_TYPES)
    _is(config, 'quantization_config', (None,))
    _is(config, 'tie_word_embeddings', (True,), True)
    kind = config['model_type']
    architecture = (config.get('architectures') or [''])[0]
    head = next((head for head, ends in ENDINGS.items() if architecture.endswith(ends)), 'masked')
    found = _of_distilbert(config) if kind == 'distilbert' else _of_bert(config)
    found |= {'head': head, 'next_sentence': architecture == 'BertForPreTraining'}
    if head in ('classes', 'tokens'):
        found['classes'] = len(labels_of(config)) or config.get('num_labels', 2)
    return found


def _of_bert(config: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the arguments that are not the head's; RoBERTa says all but its own in the same words."""
    roberta = config['model_type'] == 'roberta'
    for key, wanted in (('position_embedding_type', 'absolute'), ('is_decoder', False), ('add_cross_attention', False)):
        _is(config, key, (wanted,), wanted)
    _is(config, 'hidden_act', ('gelu',) if roberta else ACTIVATIONS, 'gelu')  # RoBERTa's head has no other
    offset = config.get('pad_token_id', 1) + 1 if roberta else 0
    return {
        'layers': config.get('num_hidden_layers', 12),
        'width': config.get('hidden_size', 768),
        'heads': config.get('num_attention_heads', 12),
        'mlp_width': config.get('intermediate_size', 3072),
        'context': config.get('max_position_embeddings', 512) - offset,
        'vocabulary': config.get('vocab_size', 50265 if roberta else 30522),
        'types': config.get('type_vocab_size', 2),
        'position_offset': offset,
        'pooler': not roberta,
        'activation': ACTIVATIONS[config.get('hidden_act', 'gelu')],
        'head_activation': 'tanh',
        'norm_epsilon': config.get('layer_norm_eps', 1e-12),
        'dropout': config.get('hidden_dropout_prob', 0.1),
    }


def _of_distilbert(config: Mapping[str, Any]) -> dict[str, Any]:
    _is(config, 'sinusoidal_pos_embds', (False,), False)
    _is(config, 'activation', ACTIVATIONS, 'gelu')
    return {
        'layers': config.get('n_layers', 6),
        'width': config.get('dim', 768),
        'heads': config.get('n_heads', 12),
        'mlp_width': config.get('hidden_dim', 3072),
        'context': config.get('max_position_embeddings', 512),
        'vocabulary': config.get('vocab_size', 30522),
        'types': 0,
        'position_offset': 0,
        'pooler': False,
        'activation': ACTIVATIONS[config.get('activation', 'gelu')],
        'head_activation': 'relu',
        'norm_epsilon': 1e-12,
        'dropout': config.get('dropout', 0.1),
    }


def _is(config: Mapping[str, Any], key: str, wanted: Any, default: Any = None) -> None:
    if (value := config.get(key, default)) not in wanted:
        raise UserError(
            'config.json: {key}={value}, and our BERT has {wanted}.',
            key=key,
            value=value,
            wanted=', '.join(map(str, wanted)),
        )


def config_of(model: BERT, labels: Sequence[str] = ()) -> dict[str, Any]:
    """Returns the config.json by which transformers makes this model.

    Args:
      model: ours.
      labels: the names of its classes; by default LABEL_0, LABEL_1, …

    Raises:
      UserError: transformers has no such network.
    """
    kind = kind_of(model)
    endings = ENDINGS[model.purpose]
    shared: dict[str, Any] = {
        'model_type': kind,
        'architectures': [NAMES[kind] + endings[model.next_sentence]],
        'vocab_size': model.vocabulary,
        'max_position_embeddings': model.context + model.position_offset,
        'pad_token_id': max(model.position_offset - 1, 0),
        'tie_word_embeddings': True,
        'initializer_range': model.init_scale,
        'dtype': jnp.dtype(model.param_dtype).name,
    }
    if model.purpose in ('classes', 'tokens'):
        names = list(labels) or [f'LABEL_{i}' for i in range(model.classes)]
        assert len(names) == model.classes, f'{len(names)} labels for {model.classes} classes'
        shared |= {'id2label': dict(enumerate(names)), 'label2id': {name: i for i, name in enumerate(names)}}
    activation = 'gelu' if model.activation == 'gelu_exact' else 'gelu_new'
    if kind == 'distilbert':
        return shared | {
            'n_layers': model.layers,
            'dim': model.width,
            'n_heads': model.heads,
            'hidden_dim': model.mlp_width,
            'activation': activation,
            'dropout': model.dropout,
            'seq_classif_dropout': model.dropout,
            'qa_dropout': model.dropout,
            'attention_dropout': 0.0,
            'sinusoidal_pos_embds': False,
        }
    return shared | {
        'num_hidden_layers': model.layers,
        'hidden_size': model.width,
        'num_attention_heads': model.heads,
        'intermediate_size': model.mlp_width,
        'type_vocab_size': model.types,
        'hidden_act': activation,
        'layer_norm_eps': model.norm_epsilon,
        'hidden_dropout_prob': model.dropout,
        'attention_probs_dropout_prob': 0.0,
        'position_embedding_type': 'absolute',
    }


def kind_of(model: BERT) -> str:
    """Returns which of MODEL_TYPES a model is.

    Raises:
      UserError: it is none of them.
    """
    kind = 'roberta' if model.position_offset else 'bert' if model.types else 'distilbert'
    fixed: dict[str, Any] = {}
    if kind == 'bert' and model.purpose == 'classes':
        fixed = {'with_pooler': True}
    elif kind == 'roberta':
        fixed = {'next_sentence': False, 'activation': 'gelu_exact', 'types': model.types or 1}
    elif kind == 'distilbert':
        fixed = {'next_sentence': False, 'norm_epsilon': 1e-12}
    if kind != 'bert' and model.purpose == 'classes':
        fixed |= {'with_pooler': False, 'head_activation': 'tanh' if kind == 'roberta' else 'relu'}
    for field, wanted in fixed.items():
        if getattr(model, field) != wanted:
            raise UserError(
                '{field}={value}: the {name} of transformers has {wanted}, and no other.',
                field=field.removeprefix('with_'),
                value=getattr(model, field),
                name=NAMES[kind],
                wanted=wanted,
            )
    return kind


# --- names -----------------------------------------------------------------------------------------------------------


def _linear(theirs: str, ours: str) -> list[Row]:
    return [Row(f'{theirs}.weight', f'{ours}/kernel', 'linear'), Row(f'{theirs}.bias', f'{ours}/bias')]


def _norm(theirs: str, ours: str, old: bool = False) -> list[Row]:
    scale, bias = ('gamma', 'beta') if old else ('weight', 'bias')
    return [Row(f'{theirs}.{scale}', f'{ours}/scale'), Row(f'{theirs}.{bias}', f'{ours}/bias')]


def _encoder(kind: str, prefix: str, old: bool) -> list[Row]:
    """Returns the rows of what all heads share."""
    tables = {'word': 'tokens', 'position': 'positions', 'token_type': 'types'}
    rows = [
        Row(f'{prefix}embeddings.{theirs}_embeddings.weight', f'{EMBEDDINGS}/{ours}/table', padded=ours == 'tokens')
        for theirs, ours in tables.items()
    ]
    rows += _norm(f'{prefix}embeddings.LayerNorm', f'{EMBEDDINGS}/norm', old)
    rows += _linear(f'{prefix}pooler.dense', 'params/pooler')
    attention = {name: f'attention.self.{name}' for name in ('query', 'key', 'value')}
    attention |= {'out': 'attention.output.dense'}
    mlp, norms = ('intermediate.dense', 'output.dense'), ('attention.output.LayerNorm', 'output.LayerNorm')
    layers = f'{prefix}encoder.layer.{{layer}}'
    if kind == 'distilbert':
        attention = {name: f'attention.{name[0]}_lin' for name in ('query', 'key', 'value')}
        attention |= {'out': 'attention.out_lin'}
        mlp, norms = ('ffn.lin1', 'ffn.lin2'), ('sa_layer_norm', 'output_layer_norm')
        layers = f'{prefix}transformer.layer.{{layer}}'
    for layer in LAYERS:
        for ours, theirs in attention.items():
            rows += _linear(f'{layers}.{theirs}', f'{layer}/attention/{ours}')
        for ours, theirs in zip(('up', 'down'), mlp):
            rows += _linear(f'{layers}.{theirs}', f'{layer}/mlp/{ours}')
        for ours, theirs in zip(('attention_norm', 'mlp_norm'), norms):
            rows += _norm(f'{layers}.{theirs}', f'{layer}/{ours}', old)
    return rows


def _masked(kind: str, old: bool) -> list[Row]:
    dense, norm, bias = {
        'bert': ('cls.predictions.transform.dense', 'cls.predictions.transform.LayerNorm', 'cls.predictions.bias'),
        'roberta': ('lm_head.dense', 'lm_head.layer_norm', 'lm_head.bias'),
        'distilbert': ('vocab_transform', 'vocab_layer_norm', 'vocab_projector.bias'),
    }[kind]
    rows = [*_linear(dense, 'params/head/transform'), *_norm(norm, 'params/head/norm', old)]
    rows += [Row(bias, 'params/head/bias', padded=True)]
    return rows + (_linear('cls.seq_relationship', 'params/head/next') if kind == 'bert' else [])


def _head(kind: str, head: str, old: bool) -> list[Row]:
    if head == 'masked':
        return _masked(kind, old)
    if head == 'span':
        return _linear('qa_outputs', 'params/head')
    if head == 'classes' and kind != 'bert':
        dense, out = ('classifier.dense', 'classifier.out_proj')
        if kind == 'distilbert':
            dense, out = ('pre_classifier', 'classifier')
        return _linear(dense, 'params/head/dense') + _linear(out, 'params/head/out')
    return _linear('classifier', 'params/head')


@cache
def family(kind: str, head: str, prefix: bool = True, old: bool = False) -> Family:
    """Returns the names of one of MODEL_TYPES with one of our heads.

    Args:
      kind, head: which.
      prefix: whether all but the head's begin with the kind.
      old: whether norms have 'gamma' and 'beta', as of the first files that are published.
    """
    before = f'{kind}.' if prefix else ''
    pattern = before.replace('.', r'\.')
    tokens = f'{before}embeddings.word_embeddings.weight'
    tied = ('cls.predictions.decoder', 'lm_head.decoder', 'vocab_projector')
    biases = (('cls.predictions.decoder.bias', 'cls.predictions.bias'), ('lm_head.decoder.bias', 'lm_head.bias'))
    return Family(
        rows=(*_encoder(kind, before, old), *_head(kind, head, old)),
        ignored=(rf'{pattern}embeddings\.(position_ids|token_type_ids)',),
        again=(*((f'{name}.weight', tokens) for name in tied), *biases),
        make=make,
        arguments_of=arguments_of,
        structure=SHAPE + KIND,
        optional='params/pooler/',
        spare=(rf'{pattern}pooler\..*', r'cls\.seq_relationship\..*'),
    )


def family_of(names: Mapping[str, Any]) -> Family:
    """Returns the family whose names these are: of tensors, as `find` gives them."""

    def some(*beginnings: str) -> bool:
        return any(name.startswith(beginnings) for name in names)

    distil = some('distilbert.', 'transformer.layer.', 'vocab_transform', 'pre_classifier')
    kind = 'distilbert' if distil else 'roberta' if some('roberta.', 'lm_head.', 'classifier.dense.') else 'bert'
    head = 'masked'
    if some('qa_outputs.'):
        head = 'span'
    elif some('classifier.'):  # of tags and of classes it has one name, but a pooler, or a layer before it, says which
        classes = some('classifier.dense.', 'pre_classifier.', 'bert.pooler.', 'pooler.')
        head = 'classes' if classes else 'tokens'
    return family(kind, head, some(f'{kind}.'), some(*(name for name in names if name.endswith('LayerNorm.gamma'))))


def family_for(model: BERT) -> Family:
    """Returns the family under whose names a model is published.

    Raises:
      UserError: it is none of MODEL_TYPES.
    """
    return family(kind_of(model), model.purpose)


def exported(model: BERT, processor: Any) -> Exported:
    """Returns what an export of this model is; `processor` is that of its texts.

    Raises:
      UserError: transformers has no such network, or would show it other types of tokens.
    """
    words = processor if hasattr(processor, 'types') else getattr(processor, 'tokenizer', None)
    if model.types > getattr(words, 'types', model.types):
        raise UserError(
            'config.model.types={types}: transformers tells a model with these words, which are those of RoBERTa, one'
            ' type of tokens; train it with config.model.types=1.',
            types=model.types,
        )
    labels = tuple(getattr(processor, 'labels', ())) if model.purpose in ('classes', 'tokens') else ()
    return Exported(family_for(model), config_of(model, labels), rows=model.vocabulary)
