"""The words of the page, in both of its languages: English, as it stands in the code, and Chinese.

`jaxlab.report.html.both` puts both into the page. The same places in braces, whose order is free.
"""

# What is measured, by the last word of its name in metrics.jsonl. Other names are shown as they are.
MEASURES = {
    'loss': 'Loss',
    'perplexity': 'Perplexity',
    'bits_per_byte': 'Bits per byte',
    'accuracy': 'Accuracy',
    'top_five_accuracy': 'Accuracy among the first five',
    'roc_auc': 'Area under the ROC curve',
    'average_precision': 'Average precision',
    'calibration_error': 'Calibration error',
    'brier': 'Brier score',
    **{
        f'{name}_{average}': f'{word}, {average} mean'
        for name, word in (('precision', 'Precision'), ('recall', 'Recall'), ('f1', 'F1'))
        for average in ('macro', 'micro', 'weighted')
    },
    'mse': 'Mean squared error',
    'rmse': 'Root of the mean squared error',
    'mae': 'Mean absolute error',
    'r2': 'R²: explained variance',
    'real_believed': 'Real pictures that the discriminator believes',
    'fake_believed': 'Made pictures that the discriminator believes',
    'learning_rate': 'Learning rate',
    'gradient_norm': 'Gradient norm',
    'skipped': 'Updates left out, in all',
    'tokens_per_second': 'Tokens per second',
    'examples_per_second': 'Examples per second',
}

# Kinds of work in the ledger of a run; see `jaxlab.trust.ledger`.
WORK = {
    'start': 'Starting: importing, reading data, making or restoring the state',
    'compile': 'Waiting for the training step to compile',
    'data': 'Waiting for data',
    'step': 'Training steps',
    'lost': 'Steps done again, after an interruption or a rollback',
    'evaluate': 'Evaluation; its first time includes compiling it',
    'sample': 'Samples; the first includes compiling it',
    'checkpoint': 'Saving checkpoints',
    'observe': 'Screen, metrics and report',
}

CHINESE = {
    # the head
    'Training report': '训练报告',
    'Finished: {steps} steps.': '已完成：共 {steps} 步。',
    'Ended at step {step} of {steps}.': '已结束于第 {step} 步，原定 {steps} 步。',
    'At step {step} of {steps}; no end is on record: it is still running, or was interrupted.': (
        '第 {step} 步，共 {steps} 步；没有结束的记录：仍在运行，或曾被中断。'
    ),
    'This page was written at {time}.': '本页写于 {time}。',
    'Held-out loss': '留出损失',
    'Training loss': '训练损失',
    'Updates left out, in all': '累计跳过的更新',
    'best: {value} at step {step}': '最佳：第 {step} 步的 {value}',
    'mean of the last {count} rows': '最后 {count} 行的平均',
    'median': '中位数',
    'Time': '用时',
    '{count} starts': '启动 {count} 次',
    '{share} % in training steps': '训练步占 {share} %',
    'Parameters': '参数量',
    # over-fitting
    'Is it over-fitting?': '是否过拟合？',
    'Training loss is NaN or infinite since step {step}.': '自第 {step} 步起，训练损失是 NaN 或无穷大。',
    'Nothing is learned any more. Look at learning rate and gradient norm before that step; a lower learning rate, a'
    ' longer warm-up or gradient clipping may help.': (
        '此后不再学到任何东西。请看该步之前的学习率与梯度范数；降低学习率、延长预热或裁剪梯度可能有帮助。'
    ),
    'Too early to say.': '为时尚早。',
    'It takes two evaluations to compare; so far there is one.': '至少需要两次评估才能比较；目前只有一次。',
    'Over-fitting since step {step}.': '自第 {step} 步起过拟合。',
    'Held-out loss was best there, at {best}, and has risen to {last}, while training loss went from {before} to {now}:'
    ' the model now learns its training data by heart. Keep the checkpoint nearest to that step, or train with more'
    ' data, more dropout or weight decay, a smaller model, or fewer steps.': (
        '留出损失在该步最低，为 {best}，此后升至 {last}；同时训练损失从 {before} 变为 {now}：模型正在死记训练数据。'
        '可以采用离该步最近的检查点，或者增加数据、加大 dropout 或权重衰减、缩小模型、减少步数。'
    ),
    'Unstable since step {step}.': '自第 {step} 步起不稳定。',
    'Both losses have risen since then, held-out loss from {best} to {last}: this is not over-fitting. Look at learning'
    ' rate and gradient norm below around that step.': (
        '此后两个损失都在上升，留出损失从 {best} 升至 {last}：这不是过拟合。请看下方该步前后的学习率与梯度范数。'
    ),
    'No over-fitting; rather the opposite.': '没有过拟合；倒不如说是欠拟合。',
    'Held-out loss was still falling at the end, and close to training loss: the model is under-fitted so far. More'
    ' steps, or a larger model, would lower both.': (
        '到最后留出损失仍在下降，并且接近训练损失：目前是欠拟合。更多步数或更大的模型会使两者都更低。'
    ),
    'No over-fitting so far.': '目前没有过拟合。',
    'Held-out loss was still falling at the end, although training loss is well below it: what the model learns still'
    ' carries over to data it has never seen. More steps may pay.': (
        '到最后留出损失仍在下降，尽管训练损失比它低得多：模型学到的仍然适用于没见过的数据。继续训练或许值得。'
    ),
    'No over-fitting; learning has levelled off.': '没有过拟合；学习已趋于平稳。',
    'Held-out loss moved by less than 1 % over the last evaluations; its best was {best}, at step {step}. More of the'
    ' same steps would change little.': (
        '最近几次评估中留出损失的变化不到 1 %；最佳为第 {step} 步的 {best}。照此继续训练不会有多大变化。'
    ),
    'The gap at the end is {gap}: held-out loss {held_out} minus training loss {training}, {share} % of the former.'
    ' A gap that widens while held-out loss rises is over-fitting.': (
        '最后的差距为 {gap}：留出损失 {held_out} 减去训练损失 {training}，占前者的 {share} %。'
        '差距扩大而留出损失上升，就是过拟合。'
    ),
    'training loss, every row': '训练损失，每一行',
    'training loss, mean of {count} rows': '训练损失，{count} 行的平均',
    'held-out loss': '留出损失',
    'the gap': '差距',
    'best held-out loss': '留出损失最低处',
    'Loss by step.': '损失随步数的变化。',
    'The first steps, up to {value}, lie above the picture.': '最初几步的损失最高为 {value}，在图的上方之外。',
    'Training loss is measured with {what} on, which raises it; held-out loss without. So the gap looks smaller than'
    ' it is.': '训练损失在启用 {what} 时测得，因而偏高；留出损失则不启用。所以差距看起来比实际小。',
    'Training loss is of batches that the model had not learned yet, and of the parameters before each step; held-out'
    ' loss is of the moving average of the parameters (average={decay}).': (
        '训练损失是在尚未学过的批次上、用每步更新之前的参数测得的；留出损失用的是参数的移动平均（average={decay}）。'
    ),
    'Training loss includes further terms: {terms}. Held-out loss may not.': (
        '训练损失还包含其他项：{terms}；留出损失未必包含。'
    ),
    '{name}: values that were NaN or infinite: {count}, the first at step {step}. Curves leave them out.': (
        '{name}：有 {count} 个值是 NaN 或无穷大，最早在第 {step} 步；曲线中略去。'
    ),
    'Lines of metrics.jsonl that could not be read, and are left out: {count}.': (
        'metrics.jsonl 中有 {count} 行无法读取，已略去。'
    ),
    'There is no held-out loss yet to compare with: the first evaluation is still to come, or measures no loss'
    ' (evaluate.scores).': '还没有可供比较的留出损失：第一次评估尚未进行，或评估不计算损失（evaluate.scores）。',
    # scores and course
    'Scores on held-out data': '留出数据上的得分',
    'The course of training': '训练过程',
    'last {value}': '最后 {value}',
    'last {value}, the best so far': '最后 {value}，也是最佳',
    'last {value}, best {best} at step {step}': '最后 {value}，最佳为第 {step} 步的 {best}',
    'median {value}': '中位数 {value}',
    'The gap: held-out minus training loss': '差距：留出损失减训练损失',
    'Loss': '损失',
    'Perplexity': '困惑度',
    'Bits per byte': '每字节比特数',
    'Accuracy': '准确率',
    'Real pictures that the discriminator believes': '判别器信以为真的真实图片',
    'Made pictures that the discriminator believes': '判别器信以为真的生成图片',
    'Accuracy among the first five': '前五准确率',
    'Area under the ROC curve': 'ROC 曲线下面积',
    'Average precision': '平均精度',
    'Calibration error': '校准误差',
    'Brier score': 'Brier 分数',
    'Precision, macro mean': '精确率，宏平均',
    'Precision, micro mean': '精确率，微平均',
    'Precision, weighted mean': '精确率，加权平均',
    'Recall, macro mean': '召回率，宏平均',
    'Recall, micro mean': '召回率，微平均',
    'Recall, weighted mean': '召回率，加权平均',
    'F1, macro mean': 'F1，宏平均',
    'F1, micro mean': 'F1，微平均',
    'F1, weighted mean': 'F1，加权平均',
    'Mean squared error': '均方误差',
    'Root of the mean squared error': '均方根误差',
    'Mean absolute error': '平均绝对误差',
    'R²: explained variance': 'R²：解释的方差',
    'Learning rate': '学习率',
    'Gradient norm': '梯度范数',
    'Tokens per second': '每秒词元数',
    'Examples per second': '每秒样本数',
    '{name} (logarithmic)': '{name}（对数坐标）',
    # evaluation of a classification
    'Evaluation': '评估',
    '{split} at step {step}: {rows} rows.': '{split}，第 {step} 步：{rows} 个样本。',
    '{split} at step {step}: its first {rows} rows.': '{split}，第 {step} 步：其中最前的 {rows} 个样本。',
    'Rows of which the model says NaN, and which are left out: {count}.': '模型输出为 NaN 而被略去的样本：{count} 个。',
    'ROC curve': 'ROC 曲线',
    'True positive rate by false positive rate.': '真正率随假正率的变化。',
    'Precision-recall curve': '精确率-召回率曲线',
    'Precision by recall.': '精确率随召回率的变化。',
    'area of the macro mean: {value}': '宏平均的面积：{value}',
    'macro mean': '宏平均',
    'Reliability': '可靠性',
    'Accuracy by confidence; below the dashed line the model is too sure of itself.': (
        '准确率随置信度的变化；在虚线之下，模型过于自信。'
    ),
    'expected calibration error: {value}': '期望校准误差：{value}',
    'Confusion matrix': '混淆矩阵',
    'Text, as far as its tokens know it': '文本（按词元还原）',
    'A row is what an example is, a column what the model says it is.': (
        '一行是样本的真实类别，一列是模型给出的类别。'
    ),
    'The pairs of classes that are confused the most': '最常混淆的类别',
    'What it is': '真实类别',
    'What the model says': '模型给出的类别',
    'Rows': '样本数',
    'Class': '类别',
    'Precision': '精确率',
    'Recall': '召回率',
    'The numbers of each class': '各个类别的数值',
    'What it was most sure of, and wrong about': '最有把握却错了的样本',
    'The surest first, line by line; the table names them in the same order.': (
        '最有把握的在前，逐行排列；表格按同样的顺序列出它们。'
    ),
    'Which they are': '它们是哪些',
    'Row': '样本编号',
    'Probability': '概率',
    # samples
    'Samples over time': '各时刻的样本',
    'What the model made as training went on.': '模型在训练过程中生成的内容。',
    'Of {count} samples, {shown} are shown, evenly spaced; all of them lie in {folder}.': (
        '共 {count} 个样本，等间隔地显示其中 {shown} 个；全部在 {folder} 中。'
    ),
    'step {step}': '第 {step} 步',
    'Step': '步',
    'cut after {count} characters': '只显示前 {count} 个字符',
    'not a kind of file that this page can show: {name}': '本页无法显示这种文件：{name}',
    # where the time went
    'Where the time went': '时间用在了哪里',
    'Work': '工作',
    'Seconds': '秒',
    'Share': '占比',
    'All of it, by the clock': '合计，即时钟时间',
    'Starting: importing, reading data, making or restoring the state': '启动：导入、读取数据、创建或恢复状态',
    'Waiting for the training step to compile': '等待训练步编译',
    'Waiting for data': '等待数据',
    'Training steps': '训练步',
    'Steps done again, after an interruption or a rollback': '中断或退回之后重做的训练步',
    'Evaluation; its first time includes compiling it': '评估；第一次包含其编译',
    'Samples; the first includes compiling it': '生成样本；第一次包含其编译',
    'Saving checkpoints': '保存检查点',
    'Screen, metrics and report': '屏幕、指标与报告',
    'Each moment of the training loop belongs to one kind of work. The page itself is written last, and does not'
    ' count.': ('训练循环的每一刻只属于一种工作。本页最后写成，不计在内。'),
    # again
    'Run it again': '再运行一次',
    'From the clone, with the same data, this trains the same experiment anew, in a folder of its own:': (
        '在代码仓库的克隆里，用同样的数据，这条命令会在另一个文件夹中重新训练同一实验：'
    ),
    'The code was at commit {commit}.': '代码位于提交 {commit}。',
    'The code was at commit {commit}, with changes that were not committed.': (
        '代码位于提交 {commit}，并有未提交的修改。'
    ),
    'The config file is not on record, so there is no command that makes this run anew; this one goes on with it:': (
        '没有记录配置文件，因此没有重新训练的命令；下面这条命令接着训练：'
    ),
    'Copy': '复制',
    # configuration
    'Configuration': '配置',
    'These values differ from {file}:': '以下数值与 {file} 不同：',
    'Nothing differs from {file}.': '与 {file} 没有不同。',
    'Which config file it came from, and what differs from that, is not on record.': (
        '没有记录它来自哪个配置文件，也没有记录与之不同之处。'
    ),
    'Key': '键',
    'In the file': '文件中',
    'In this run': '本次运行',
    '(none)': '（无）',
    'All of it, as it was resolved; what differs from the file is in colour.': (
        '解析后的全部配置；与文件不同之处以颜色标出。'
    ),
    # environment
    'Data and environment': '数据与环境',
    'Data': '数据',
    'Evaluated on': '评估所用',
    'Told about the data': '告知模型的数据信息',
    'Fingerprint of the data': '数据指纹',
    'Seed': '随机种子',
    'Devices': '设备',
    'Processes': '进程数',
    'Machine': '机器',
    '{processor}, {cores} cores, {memory}': '{processor}，{cores} 核，{memory}',
    'System': '系统',
    'Versions': '版本',
    'Commit': '提交',
    'Environment variables': '环境变量',
    'Folder': '文件夹',
    'Not on record.': '没有记录。',
    'Of code, machine and time nothing is on record (no runs.json).': (
        '没有关于代码、机器和时间的记录（没有 runs.json）。'
    ),
    'Starts': '历次启动',
    'Started': '开始于',
    'Ended': '结束于',
    'From step': '起始步',
    'To step': '结束步',
    'no end on record': '没有结束的记录',
    'Nothing on this page is loaded from elsewhere: it can be kept, sent and printed.': (
        '本页不从别处加载任何内容：可以保存、发送和打印。'
    ),
    # several runs
    '{count} runs side by side': '{count} 次运行并列比较',
    'Run': '运行',
    'Steps': '步数',
    'Scores': '得分',
    '{name}, best': '{name}，最佳',
    'Last values; in each column the best of all runs is marked.': '均为最后的值；每一列中所有运行里最好的以颜色标出。',
    'These runs saw different data: losses and perplexities are per token of their own vocabularies, and may not be'
    ' compared; bits per byte may, on the same held-out text.': (
        '这些运行使用的数据不同：损失与困惑度按各自词表的词元计算，不可相互比较；在同样的留出文本上，每字节比特数可以比较。'
    ),
    'Some have no end on record: they still run, or were interrupted.': (
        '其中有的没有结束的记录：仍在运行，或曾被中断。'
    ),
    '{name} on {split}': '{split} 上的{name}',
    '{name} on held-out data': '留出数据上的{name}',
    '{name} by step': '{name}，按步数',
    '{name} by tokens seen': '{name}，按已见词元数',
    '{name} by examples seen': '{name}，按已见样本数',
    '{name} by seconds of training': '{name}，按训练秒数',
    'Everything else, by step': '其余各项，按步数',
    'What differs': '不同之处',
    'Nothing: these configs are the same.': '没有：这些配置完全相同。',
    'Config file': '配置文件',
    # where heads look
    'Attention': '注意力',
    '{layers} layers of {heads} heads, {tokens} tokens': '{layers} 层，每层 {heads} 个头，{tokens} 个词元',
    'How much each token is looked at': '每个词元受到多少注意',
    'By all tokens and all heads of a layer together: the darker, the more.': (
        '由一层中的所有词元、所有头合计：颜色越深，受到的注意越多。'
    ),
    'Every head': '每一个头',
    'A square for each head: a row for each token that looks, a column for each that is looked at, in the order of the'
    ' text. Dark is the largest weight of the square; its number stands above it.': (
        '每个头一个方块：一行是一个在看的词元，一列是一个被看的词元，均按文中顺序。最深处是该方块中最大的权重，其数值写在上方。'
    ),
    'The mean of the heads, in numbers': '各头的平均值（数字）',
    'Layer {layer}': '第 {layer} 层',
    'Layer {layer}, head {head}': '第 {layer} 层，第 {head} 个头',
}
