// 简体中文
/** @type {Record<keyof typeof import('./en.js').en, string>} */
export const zh = {
  'nav': '主导航', 'nav.overview': '总览', 'nav.jobs': '任务', 'nav.runs': '执行记录', 'nav.alerts': '告警', 'nav.forecast': '预测', 'nav.compare': '对比', 'nav.activity': '操作记录',
  'account': '账号',
  'skip': '跳到正文', 'language': '语言', 'theme': '主题', 'theme.auto': '跟随系统', 'theme.light': '浅色', 'theme.dark': '深色',
  'all': '全部', 'close': '关闭', 'copy': '复制', 'copied': '已复制', 'save': '保存', 'never': '从未', 'state': '状态', 'loading': '加载中…',
  'retry': '重试', 'load.failed': '加载失败：{reason}', 'and.more': '还有 {n} 项', 'nothing.here': '页面不存在', 'nothing.text': '{path} 处没有页面。',
  'keep.running': '继续执行', 'keep.active': '保持启用', 'keep.paused': '保持暂停', 'keep.visible': '继续显示',

  'status.scheduled': '等待中', 'status.running': '执行中', 'status.success': '成功', 'status.failed': '失败', 'status.missed': '错过', 'status.cancelled': '已终止', 'status.snoozed': '已推迟',
  'status.active': '启用', 'status.paused': '已暂停',
  'step.pending': '未开始', 'step.current': '进行中', 'step.completed': '已完成', 'step.failed': '失败', 'step.skipped': '已跳过',
  'reason.exception': '抛出异常', 'reason.timeout': '执行超时', 'reason.silence': '长时间没有上报', 'reason.zombie': '失去响应',
  'reason.lost': '因其进程终止而中断', 'reason.unknown_function': '工作进程无法导入其函数', 'reason.marked': '被标记为失败', 'reason.killed': '被强制终止', 'reason.internal': '内核内部错误',
  'reason.late': '超过宽限时间', 'reason.overlap': '上一次执行尚未结束', 'reason.guard': '被守卫规则拦截', 'reason.downtime': '调度器未运行',
  'reason.held': '全部触发已暂停', 'reason.skipped': '操作员跳过了这次触发', 'reason.paused': '任务已暂停', 'reason.capacity': '未等到空闲槽位', 'reason.dependency': '前置任务未成功',
  'health.ok': '正常', 'health.starting': '启动中', 'health.stopping': '停止中', 'health.degraded': '降级', 'health.failed': '故障',
  'component.workers': '工作进程', 'component.kernel': '内核', 'component.store': '存储', 'component.loop': '事件循环', 'component.clock': '时钟', 'component.timetable': '调度表', 'component.journal': '日志写入', 'component.starts': '任务启动', 'component.start': '启动', 'component.hold': '暂停触发', 'component.leader': '主内核',

  'time.now': '现在', 'time.in': '{t}后', 'time.ago': '{t}前', 'window.1h': '1 小时', 'window.6h': '6 小时', 'window.24h': '24 小时', 'window.7d': '7 天', 'window.30d': '30 天',
  'schedule.manual': '仅手动触发', 'schedule.every': '每 {t}', 'schedule.minutes': '每 {n} 分钟', 'schedule.hours': '每 {n} 小时的第 {m} 分', 'schedule.hourly': '每小时第 {m} 分',
  'schedule.daily': '每天 {at}', 'schedule.workdays': '周一至周五 {at}', 'schedule.monthly': '每月 {day} 日 {at}',

  'counters': '最近 24 小时', 'day.last': '最近 24 小时', 'running.now': '正在执行', 'running.none': '当前没有正在执行的任务。', 'running.none.next': '当前没有正在执行的任务。下一个：',
  'coming': '即将执行', 'coming.none': '没有待执行的任务：全部已暂停，或仅手动触发。', 'coming.paused': '{n} 个任务已暂停',
  'attention': '需要关注', 'attention.none': '一切正常。', 'timeline': '时间线', 'timeline.window': '时间范围',
  'lanes.label': '{j} 个任务的时间线：共执行 {n} 次，失败 {f} 次', 'lanes.next': '计划时间 {at}', 'lanes.cut': '此时段内有执行的 {m} 个任务中显示 {n} 个，有失败的优先；其余任务的 {r} 次执行未显示。', 'lanes.all': '全部任务',
  'lanes.none': '此时段内没有已结束的执行。', 'lanes.known': '{at} 之前的统计不再保留。', 'lanes.newest': '仅根据最近的执行绘制（共 {m} 次，取 {n} 次，自 {at} 起）：未启用统计插件 stats，无法统计全部。',
  'spark.none': '尚未执行', 'spark.failed': '未加载', 'spark.label': '最近 {n} 次：失败 {f} 次，最长耗时 {t}',

  'run': '执行', 'run.steps': '步骤', 'run.left': '约剩 {t}', 'run.left.range': '还需 {a} 至 {b}', 'run.left.most': '最多还需 {t}', 'run.left.none': '即将结束', 'run.waiting': '排队中', 'run.queued': '自 {t} 起在队列 {q} 中等待', 'run.handed': '已于 {t} 交给 {r}', 'run.retry': '第 {n} 次尝试，{t}', 'run.delayed': '{t}开始', 'run.snoozed': '已推迟 {n} 次，{t}再次执行',
  'eta': '根据{from}估算，约五分之四的执行会在此范围内结束。', 'eta.steps': '剩余步骤的历史耗时', 'eta.progress.and.past': '当前进度和历史执行', 'eta.progress': '当前进度', 'eta.past': '历史执行',
  'run.cancelling': '正在终止', 'run.stopping': '已请求停止', 'run.stopping.thread': '已请求停止；线程无法强制终止，要等代码自行结束', 'run.stopping.process': '已请求停止；超过终止宽限后会强制终止其进程', 'run.lingering': '代码仍在运行',
  'progress': '进度', 'progress.unknown': '进度未知', 'facts': '详情',
  'log': '日志',

  'col.job': '任务', 'col.schedule': '触发规则', 'col.next': '下次执行', 'col.last': '上次执行', 'col.recent': '最近', 'col.actions': '操作', 'col.status': '状态', 'col.started': '开始时间', 'col.duration': '耗时', 'col.progress': '进度', 'col.by': '触发方式',
  'figures.runs': '执行次数',
  'table.show': '以表格显示', 'table.cut': '仅显示最近 {n} 次执行，共 {m} 次。',

  'runs.since.at': '自 {at} 起', 'runs.until.at': '截至 {at}', 'runs.from.to': '{from} 至 {to}',
  'by.schedule': '定时', 'by.manual': '手动', 'by.retry': '重试，第 {n} 次尝试', 'by.snooze': '已推迟 {n} 次',





  'trigger': '立即执行', 'pause': '暂停', 'resume': '恢复', 'cancel': '终止', 'mark': '标记失败', 'edit': '编辑', 'requested': '已请求…',
  'action.offline': '未连接', 'action.unconfirmed': '请求已受理，但日志尚未确认。',
  'trigger.ask': '立即执行 {j}？', 'arg.last': '与上次相同', 'trigger.kwargs.hint': '仅在本次执行中覆盖任务自身的参数。', 'trigger.kwargs.closed': '该任务只能使用自身的参数，单次执行不能修改。', 'trigger.kwargs.some': '本次执行只能设置：{names}',
  'trigger.force': '跳过守卫', 'trigger.force.hint': '即使会被守卫规则拦截（例如非交易时段）也执行。', 'trigger.stay.hint': '否则任务会被恢复。', 'trigger.dismiss': '暂不执行',
  'cancel.ask': '终止 {j} 的这次执行？', 'cancel.text': '将请求此次执行停止，已完成的部分会保留。', 'cancel.do': '终止执行',
  'mark.ask': '将 {j} 的这次执行标记为失败？', 'mark.text': '仅在确认此次执行已经失效时使用。此后它上报的任何内容都不会改变结果；仍在运行的代码会继续占用槽位。',
  'edit.ask': '编辑 {j}', 'edit.name': '名称', 'edit.note': '备注', 'edit.dismiss': '放弃修改',
  'pause.all': '暂停 {n} 个任务', 'resume.all': '恢复 {n} 个任务', 'pause.all.n': '暂停 {n} 个', 'resume.all.n': '恢复 {n} 个', 'pause.all.ask': '暂停这 {n} 个任务？', 'resume.all.ask': '恢复这 {n} 个任务？', 'undo': '撤销', 'done.undo': '已撤销。', 'actions.none': '当前没有可用的操作。',
  'done.trigger': '{j} 已触发。', 'done.see': '查看执行', 'done.pause': '{j} 已暂停。', 'done.resume': '{j} 已恢复。', 'done.cancel': '已请求终止 {j}。', 'done.mark': '已标记为失败。', 'done.describe': '已保存。', 'done.pause.all': '已暂停 {n} 个任务。', 'done.resume.all': '已恢复 {n} 个任务。',

  'act.reason': '原因',
  'fire.skip': '跳过', 'fire.skipped': '{who} 已跳过', 'fire.undo': '撤销跳过',
  'backfill': '补跑', 'backfill.done': '已处理 {n} / {m} 次触发', 'backfill.stop': '停止补跑',
  'hold': '暂停全部触发', 'held': '所有任务都不会触发。', 'held.by': '{who} 暂停了全部触发', 'release': '恢复触发',
  'cancel.all': '终止这些执行', 'cancel.all.n': '终止 {n} 个执行',
  'job.new': '新建任务', 'job.add': '添加任务', 'job.copy': '复制任务', 'job.copy.ask': '复制 {j}', 'job.change': '修改', 'job.change.ask': '修改 {j}', 'job.remove': '删除', 'job.remove.ask': '删除 {j}？', 'job.remove.text': '该任务不再触发。其执行记录保留在日志中，正在进行的执行会继续。', 'job.keep': '保留任务',
  'done.job.add': '{j} 已添加。', 'done.job.change': '{j} 已修改。', 'done.job.remove': '{j} 已删除。', 'done.job.see': '查看任务',

  'link.connecting': '连接中', 'link.past': '过去', 'past.open': '查看过去的状态', 'past.unknown': '日志中没有当时的这项信息。', 'zone': '时区', 'zone.local': '本地：{zone}', 'zone.job': '任务：{zone}', 'zone.job.none': '任务所在时区', 'link.live': '实时', 'link.lost': '未连接', 'link.refused': '未登录', 'link.degraded': '降级', 'link.starting': '启动中', 'link.stopping': '停止中', 'link.failed': '故障', 'lost': '连接已断开。', 'lost.text': '页面内容可能不是最新，将自动恢复连接。', 'lost.retry': '立即重连', 'stale': '新版本 {v} 可用：重新加载',
  'system': '系统',
  'keys': '快捷键',
  'hide': '隐藏', 'hide.ask': '从列表中隐藏此次执行？', 'hide.text': '它将不再出现在列表中。事件日志不变，此地址仍可访问。', 'done.hide': '已隐藏。',
  'attention.off': '未启用告警，此处不报告问题。', 'attention.on': '如何启用', 'attention.quiet': '{n} 条已确认或已静默', 'alerts.firing': '条告警待处理',
  'ack': '确认',
  'kind.failed': '执行失败', 'kind.lost': '执行丢失', 'kind.missed': '错过触发', 'kind.late_start': '延迟启动', 'kind.too_long': '耗时过长', 'kind.no_success': '久未成功', 'kind.silent': '没有动静', 'kind.lingering': '代码仍在运行', 'kind.unscheduled': '无法运行', 'kind.store': '存储', 'kind.plugin': '插件', 'kind.queue': '队列', 'kind.kernel': '内核', 'kind.leader': '无主内核',
};

/** Sentences of alerts, which the server words in English. @type {Record<string, string>} */
export const zhSaid = {
  // Alerts
  'failed': '执行失败：{text}', 'failed_again': '连续失败 {count} 次：{text}',
  'lost': '执行中断：{text}', 'lost_again': '连续中断 {count} 次：{text}',
  'missed': '错过一次触发：{reason}', 'missed_again': '连续错过 {count} 次触发：{reason}',
  'late_start': '超过计划时间 {limit_s} 仍未开始', 'too_long': '已执行超过 {limit_s}；95% 的执行不超过 {usual_s}',
  'silent': '长时间没有任何动静', 'lingering': '执行已结束，但其代码又运行了 {limit_s}，仍占用槽位', 'several': '{count} 次执行：{what}',
  'no_success': '已有 {limit_s} 没有成功；上次成功于 {last_at}', 'no_success_yet': '已有 {limit_s} 没有成功；至今从未成功',
  'unscheduled': '不再触发：{text}',
  'store': '存储{state}：{text}', 'store_quiet': '存储{state}，原因不明', 'plugin': '插件{state}：{text}', 'plugin_behind': '插件{state}：落后 {lag} 个事件', 'part': '{text}',
};
